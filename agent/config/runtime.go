package config

import (
	"time"

	"praetor/structs"
)

// Runtime is the merged and checked configuration of one server. Addresses are IPs (or "unix:///path") with templates
// expanded, names have their one canonical spelling, and a port of -1 means that nobody listens.
type Runtime struct {
	NodeName   string // the host name unless configured
	NodeID     string // a lower-case UUID, or empty: the agent then keeps a random one in the data directory
	NodeMeta   map[string]string
	Datacenter string

	Dev             bool // everything in memory, a cluster of one
	Server          bool
	Bootstrap       bool // may start a cluster of one by itself; also set by a bootstrap_expect of 1
	BootstrapExpect int  // servers to wait for before starting a cluster; 0 or at least 2
	ReadReplica     bool // replicates, but never votes

	VerifyState         bool          // compare the state with that of the other servers
	VerifyStateInterval time.Duration // how often the leader has that done

	DataDir string // empty exactly when Dev
	PidFile string

	BindAddr      string // for gossip and RPC; may be 0.0.0.0 or ::
	AdvertiseAddr string // never 0.0.0.0 or ::
	ClientAddrs   []string
	Addresses     Addresses
	UnixSockets   UnixSockets
	Ports         Ports

	RetryJoin        []string
	RetryInterval    time.Duration
	RetryMax         int // attempts; 0 tries forever
	RejoinAfterLeave bool
	ReconnectTimeout time.Duration // how long a failed member is remembered

	LeaveOnTerminate     bool // leave the cluster on SIGTERM
	SkipLeaveOnInterrupt bool // stay a member on SIGINT
	LeaveDrainTime       time.Duration

	Encrypt               string // base64 of a gossip key of 16, 24 or 32 bytes; empty: gossip is plain
	EncryptVerifyIncoming bool
	EncryptVerifyOutgoing bool
	DisableKeyringFile    bool
	GossipLAN             Gossip
	DisableCoordinates    bool // neither estimate round-trip times nor serve them

	Raft           Raft
	Autopilot      Autopilot
	RPCHoldTimeout time.Duration // how long a request waits for a leader to appear

	DefaultQueryTime time.Duration // wait of a blocking query that names none
	MaxQueryTime     time.Duration
	SessionTTLMin    time.Duration // of sessions that do not ask for exact expiry

	Services   []*structs.ServiceDefinition // what runs on this node, and how it is checked
	NodeChecks []*structs.CheckDefinition   // checks of the node, or of services
	Checks     Checks
	Limits     Limits
	HTTPConfig HTTPConfig
	// DisableHTTPUnprintableCharFilter lets URL paths with unprintable characters through.
	DisableHTTPUnprintableCharFilter bool

	TLS        TLS
	ServerName string // the name asked for in outgoing TLS connections, in place of the node name

	Backup Backup

	Logging     Logging
	EnableDebug bool // serve /debug/pprof
	Telemetry   Telemetry
}

// Addresses are where the HTTP API listens, each an IP or "unix:///path". Without a setting of their own they are the
// client addresses.
type Addresses struct{ HTTP, HTTPS []string }

// UnixSockets is the owner and mode of created sockets. User and Group are names or numbers, Mode is octal; empty keeps
// what the system gives.
type UnixSockets struct{ User, Group, Mode string }

// Ports are the TCP ports (SerfLAN also UDP). HTTP and HTTPS may be -1.
type Ports struct{ HTTP, HTTPS, SerfLAN, Server int }

// Gossip is the pace of the member list: memberlist's options of the same names.
type Gossip struct {
	GossipInterval time.Duration
	GossipNodes    int
	ProbeInterval  time.Duration
	ProbeTimeout   time.Duration
	SuspicionMult  int
	RetransmitMult int
}

// Raft is how the log is replicated, stored and compacted. The three timeouts have Multiplier in them already.
type Raft struct {
	Multiplier         int
	HeartbeatTimeout   time.Duration
	ElectionTimeout    time.Duration
	LeaderLeaseTimeout time.Duration

	SnapshotThreshold int // entries
	SnapshotInterval  time.Duration
	TrailingLogs      int // entries kept behind a snapshot
	PreVoteDisabled   bool
	DiskStallLimit    time.Duration // how long a write may take before a leader gives up leadership; 0 for ever

	LogStoreBackend  string // "boltdb" or "wal"; "" is that of the data directory, else the server's default
	WALSegmentSizeMB int
	NoFreelistSync   bool // boltdb only: faster writes, slower opening
}

// Autopilot is the first configuration of autopilot; a running cluster keeps its own in the state.
type Autopilot struct {
	CleanupDeadServers      bool
	LastContactThreshold    time.Duration
	MaxTrailingLogs         int
	MinQuorum               int
	ServerStabilizationTime time.Duration
}

// Checks is how the agent keeps the checks that are registered with it. Of an output OutputMaxSize bytes are kept; the
// catalog hears of one that changes without the status at most every UpdateInterval (0: at once).
type Checks struct {
	OutputMaxSize  int
	UpdateInterval time.Duration
	DiscardOutput  bool
}

// Limits bound what callers may ask for. A connection limit or timeout of 0 means none; sizes are bytes.
type Limits struct {
	HTTPMaxConnsPerClient int
	HTTPSHandshakeTimeout time.Duration
	RPCMaxConnsPerClient  int
	RPCHandshakeTimeout   time.Duration
	RPCClientTimeout      time.Duration
	KVMaxValueSize        int
	TxnMaxReqLen          int
	TxnMaxOps             int // operations of one transaction
	WatchHistorySize      int
	DiskReserveMB         int // MiB of free disk space below which the leader refuses writes
}

// HTTPConfig is how the HTTP API answers. BlockEndpoints are path prefixes answered with 403; AllowWriteHTTPFrom are
// networks (CIDR), none meaning everyone; a MaxHeaderBytes of 0 is net/http's default.
type HTTPConfig struct {
	BlockEndpoints     []string
	ResponseHeaders    map[string]string
	AllowWriteHTTPFrom []string
	MaxHeaderBytes     int
}

// TLS holds one set of certificates for RPC and one for HTTPS. What Defaults says is already part of the other two.
type TLS struct{ Defaults, InternalRPC, HTTPS TLSSection }

// TLSSection is the TLS of one kind of connection. TLSMinVersion is "TLSv1_0" to "TLSv1_3"; TLSCipherSuites are names
// of crypto/tls, none meaning its choice.
type TLSSection struct {
	CAFile, CAPath, CertFile, KeyFile string
	VerifyIncoming                    bool
	VerifyOutgoing                    bool
	VerifyServerHostname              bool
	TLSMinVersion                     string
	TLSCipherSuites                   []string
}

// Backup is where and when the leader keeps backups; an empty Target keeps none. With one, either Interval or Cron is set.
// Of good backups Keep stay (0: all), and none older than KeepFor (0: however old) but the newest.
type Backup struct {
	LogLag          time.Duration // how far behind the log is archived, at most; 0: it is not
	Target          string
	Interval        time.Duration
	Cron            string // in UTC
	Keep            int
	KeepFor         time.Duration
	Recipients      []string
	IdentityFile    string
	PassphraseFile  string
	CredentialsFile string
}

// Logging is where log lines go and which. Level is TRACE, DEBUG, INFO, WARN or ERROR. A file is rotated when it holds
// RotateBytes or RotateDuration has passed (0: never for that); of the old ones RotateMaxFiles stay (0: all, -1: none).
type Logging struct {
	Level          string
	JSON           bool
	File           string
	RotateBytes    int
	RotateDuration time.Duration
	RotateMaxFiles int
	Syslog         bool
	SyslogFacility string
}

// Telemetry is how metrics are named and kept. PrefixFilter entries start with + (keep) or - (drop), FilterDefault
// decides about all others; a PrometheusRetentionTime of 0 turns that endpoint off.
type Telemetry struct {
	MetricsPrefix           string
	DisableHostname         bool
	PrometheusRetentionTime time.Duration
	PrefixFilter            []string
	FilterDefault           bool
}

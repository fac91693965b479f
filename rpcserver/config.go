package rpcserver

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"praetor/state"
	"praetor/structs"
)

// Network is how a server listens and dials; tests put their own in.
type Network interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Config says what kind of server to run. DefaultConfig gives every default.
type Config struct {
	NodeName   string
	NodeID     string // UUID; names the server in raft for ever
	Datacenter string
	Build      string            // version that gossip shows, N.N.N
	NodeMeta   map[string]string // what the catalog says of this node, besides its version
	DataDir    string            // "" keeps everything in memory

	Bootstrap       bool // start a new cluster of this one server, unless there is a state
	BootstrapExpect int  // start a new cluster once this many servers are there; 0 does not
	ReadReplica     bool // replicate and answer stale reads, never vote
	AwaitState      bool // serve nobody and let no other server in before StartFrom has brought a state

	BindAddr      string // IP to listen on
	AdvertiseAddr string // IP that others reach us at; "" means BindAddr
	RPCPort       int    // 0 picks a free one
	SerfPort      int    // 0 picks a free one

	Network         Network                       // nil means TCP
	GossipTransport memberlist.NodeAwareTransport // nil means UDP and TCP
	TLS             TLS

	DiskFree func(dir string) (uint64, error) // bytes that may still be written; nil asks the system

	Gossip Gossip
	Raft   Raft

	RPCHoldTimeout   time.Duration // how long a request waits for a leader
	LeaveDrainTime   time.Duration // how long a leaving server still answers
	DefaultQueryTime time.Duration // how long a blocking read waits if it does not say
	MaxQueryTime     time.Duration // how long it may wait
	ReconnectTimeout time.Duration // after which a failed server is forgotten
	TombstoneTTL     time.Duration // how long deletes are remembered, at least
	TombstoneStep    time.Duration // in which steps they are forgotten
	SessionTTLMin    time.Duration // shortest TTL of a session, unless it asks for exact expiry
	ReconcileEvery   time.Duration // how often the leader compares gossip with raft and the catalog
	UnknownGrace     time.Duration // how long a node of the catalog may be unknown to gossip before it counts as failed

	DisableCoordinates   bool          // neither estimate round-trip times nor send our coordinate
	CoordinateSendEvery  time.Duration // how often our coordinate is sent to the leader, at most; half as often at least
	CoordinateWriteEvery time.Duration // how often the leader writes those that came

	// UserEvent, if there is one, is called with each user event that gossip
	// brings, one after the other, and with the server, which New may not have
	// returned yet. While it is slow, events may be dropped.
	UserEvent func(*Server, *structs.UserEvent)

	Backups Backups // nil: none are kept

	VerifyState    bool          // compare this server's state with the others'; see verify.go
	VerifyInterval time.Duration // how often the leader has states compared
	VerifyEntries  uint64        // and after how many log entries, if that is sooner; 0 for never

	Limits

	Autopilot structs.AutopilotConfig // what the first leader writes

	Logger hclog.Logger
}

// TLS says how connections to the RPC port are secured.
type TLS struct {
	Incoming *tls.Config // nil: no TLS is served
	Outgoing *tls.Config // nil: other servers are dialled plain
	Required bool        // plain connections are refused
}

// Gossip says how serf runs.
type Gossip struct {
	Keys             [][]byte // AES keys, the first one encrypts; none: no encryption
	KeyringFile      bool     // keep the keys in the data directory
	VerifyIncoming   bool
	VerifyOutgoing   bool
	GossipInterval   time.Duration
	GossipNodes      int
	ProbeInterval    time.Duration
	ProbeTimeout     time.Duration
	SuspicionMult    int
	RetransmitMult   int
	RejoinAfterLeave bool
}

// Raft says how raft runs.
type Raft struct {
	HeartbeatTimeout   time.Duration
	ElectionTimeout    time.Duration
	LeaderLeaseTimeout time.Duration
	PreVoteDisabled    bool

	SnapshotThreshold uint64 // entries since the last snapshot that call for another
	SnapshotInterval  time.Duration
	TrailingLogs      uint64 // entries kept behind a snapshot for followers that lag

	Backend      string // of the log store: "boltdb" or "wal"; "" is the one that is there, else logstore.Default
	FreelistSync bool   // boltdb: write the freelist to disk
	SegmentSize  int    // wal: bytes of a file

	StallLimit time.Duration // how long a write to the log may take before a leader gives up leadership; 0 for ever

	// AroundWrite, if there is one, makes each write of raft to its disk: tests
	// make it slow, hang or fail. The write is named "log", "cut" (of the log),
	// "snapshot", or as the stable value that is written. A "CurrentTerm" that cannot be written is the
	// end of the process: raft panics.
	AroundWrite func(what string, write func() error) error
}

// DefaultConfig returns the configuration of a server that needs no more than
// a name, an id and a data directory.
func DefaultConfig() Config {
	return Config{
		Datacenter: "dc1",
		Build:      "0.0.0",
		BindAddr:   "127.0.0.1",
		RPCPort:    8300,
		SerfPort:   8301,
		Gossip: Gossip{
			KeyringFile: true, VerifyIncoming: true, VerifyOutgoing: true,
			GossipInterval: 200 * time.Millisecond, GossipNodes: 3,
			ProbeInterval: time.Second, ProbeTimeout: 500 * time.Millisecond,
			SuspicionMult: 4, RetransmitMult: 4,
		},
		Raft: Raft{
			HeartbeatTimeout: 600 * time.Millisecond, ElectionTimeout: 600 * time.Millisecond, LeaderLeaseTimeout: 400 * time.Millisecond,
			SnapshotThreshold: 16384, SnapshotInterval: 30 * time.Second, TrailingLogs: 10240,
			SegmentSize: 64 << 20, StallLimit: 10 * time.Second,
		},
		RPCHoldTimeout:   7 * time.Second,
		LeaveDrainTime:   5 * time.Second,
		DefaultQueryTime: 300 * time.Second,
		MaxQueryTime:     600 * time.Second,
		ReconnectTimeout: 72 * time.Hour,
		TombstoneTTL:     15 * time.Minute,
		TombstoneStep:    30 * time.Second,
		SessionTTLMin:    structs.MinSessionTTL,
		ReconcileEvery:   60 * time.Second,
		UnknownGrace:     5 * time.Minute,

		VerifyInterval: 10 * time.Minute,

		CoordinateSendEvery:  15 * time.Second,
		CoordinateWriteEvery: 2 * time.Second,

		Limits: Limits{
			HandshakeTimeout: 5 * time.Second, MaxConnsPerClient: 100,
			KVMaxValueSize: 512 << 10, TxnMaxReqLen: 512 << 10, TxnMaxOps: 128,
			WatchHistorySize: state.DefaultHistory,
			DiskReserve:      64 << 20,
		},
		Autopilot: structs.AutopilotConfig{
			CleanupDeadServers: true, LastContactThreshold: 200 * time.Millisecond,
			MaxTrailingLogs: 250, ServerStabilizationTime: 10 * time.Second,
		},
	}
}

// osNetwork is the operating system's.
type osNetwork struct{}

func (osNetwork) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

func (osNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

package config

import "time"

// defaults is a server that nobody has configured. The values are Consul's except the raft multiplier: Consul starts at
// 5, which makes a failover take five times as long, for the sake of very small machines.
func defaults() *Runtime {
	return &Runtime{
		Datacenter:  "dc1",
		BindAddr:    "0.0.0.0",
		ClientAddrs: []string{"127.0.0.1"},
		Ports:       Ports{HTTP: 8500, HTTPS: -1, SerfLAN: 8301, Server: 8300},

		RetryInterval:    30 * time.Second,
		ReconnectTimeout: 72 * time.Hour,

		SkipLeaveOnInterrupt: true,
		LeaveDrainTime:       5 * time.Second,

		EncryptVerifyIncoming: true,
		EncryptVerifyOutgoing: true,
		GossipLAN: Gossip{
			GossipInterval: 200 * time.Millisecond,
			GossipNodes:    3,
			ProbeInterval:  time.Second,
			ProbeTimeout:   500 * time.Millisecond,
			SuspicionMult:  4,
			RetransmitMult: 4,
		},
		Raft: Raft{
			Multiplier:         1,
			HeartbeatTimeout:   600 * time.Millisecond,
			ElectionTimeout:    600 * time.Millisecond,
			LeaderLeaseTimeout: 400 * time.Millisecond,
			SnapshotThreshold:  16384,
			SnapshotInterval:   30 * time.Second,
			TrailingLogs:       10240,
			WALSegmentSizeMB:   64,
			NoFreelistSync:     true,
			DiskStallLimit:     10 * time.Second,
		},
		Autopilot: Autopilot{
			CleanupDeadServers:      true,
			LastContactThreshold:    200 * time.Millisecond,
			MaxTrailingLogs:         250,
			ServerStabilizationTime: 10 * time.Second,
		},
		VerifyStateInterval: 10 * time.Minute,
		RPCHoldTimeout:      7 * time.Second,

		DefaultQueryTime: 300 * time.Second,
		MaxQueryTime:     600 * time.Second,
		SessionTTLMin:    10 * time.Second,

		Checks: Checks{OutputMaxSize: 4096, UpdateInterval: 5 * time.Minute},
		Limits: Limits{
			HTTPMaxConnsPerClient: 200,
			HTTPSHandshakeTimeout: 5 * time.Second,
			RPCMaxConnsPerClient:  100,
			RPCHandshakeTimeout:   5 * time.Second,
			RPCClientTimeout:      60 * time.Second,
			KVMaxValueSize:        512 << 10,
			TxnMaxReqLen:          512 << 10,
			TxnMaxOps:             128,
			WatchHistorySize:      32 << 20,
			DiskReserveMB:         64,
		},
		Backup:    Backup{Keep: 24, LogLag: 5 * time.Second},
		Logging:   Logging{Level: "INFO", RotateDuration: 24 * time.Hour, SyslogFacility: "LOCAL0"},
		Telemetry: Telemetry{MetricsPrefix: "consul", FilterDefault: true},
	}
}

// makeDev turns the defaults into those of -dev: a server by itself on the loopback, everything quick.
func (r *Runtime) makeDev() {
	r.Dev = true
	r.Server = true
	r.BindAddr = "127.0.0.1"
	r.DisableKeyringFile = true
	r.EnableDebug = true
	r.Logging.Level = "DEBUG"

	r.Raft.HeartbeatTimeout = 35 * time.Millisecond
	r.Raft.ElectionTimeout = 52 * time.Millisecond
	r.Raft.LeaderLeaseTimeout = 20 * time.Millisecond

	r.GossipLAN.GossipInterval = 100 * time.Millisecond
	r.GossipLAN.ProbeInterval = 100 * time.Millisecond
	r.GossipLAN.ProbeTimeout = 100 * time.Millisecond
	r.GossipLAN.SuspicionMult = 3
}

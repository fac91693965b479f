package agent

import (
	"encoding/base64"
	"errors"
	"time"

	"praetor/agent/config"
	"praetor/rpcserver"
	"praetor/structs"
)

// serverConfig is what the server needs to know of our configuration.
func (a *Agent) serverConfig() (rpcserver.Config, error) {
	r := a.config
	c := rpcserver.DefaultConfig()
	c.NodeName, c.NodeID, c.Datacenter, c.Build, c.DataDir = r.NodeName, r.NodeID, r.Datacenter, Version, r.DataDir
	c.NodeMeta = r.NodeMeta
	c.Bootstrap, c.BootstrapExpect, c.ReadReplica = r.Bootstrap, r.BootstrapExpect, r.ReadReplica
	c.AwaitState = a.options.RestoreFrom != ""
	c.BindAddr, c.AdvertiseAddr = r.BindAddr, r.AdvertiseAddr
	c.RPCPort, c.SerfPort = r.Ports.Server, r.Ports.SerfLAN
	c.TLS = a.serverTLS()
	c.Gossip = rpcserver.Gossip{
		KeyringFile:    !r.DisableKeyringFile,
		VerifyIncoming: r.EncryptVerifyIncoming, VerifyOutgoing: r.EncryptVerifyOutgoing,
		GossipInterval: r.GossipLAN.GossipInterval, GossipNodes: r.GossipLAN.GossipNodes,
		ProbeInterval: r.GossipLAN.ProbeInterval, ProbeTimeout: r.GossipLAN.ProbeTimeout,
		SuspicionMult: r.GossipLAN.SuspicionMult, RetransmitMult: r.GossipLAN.RetransmitMult,
		RejoinAfterLeave: r.RejoinAfterLeave,
	}
	if r.Encrypt != "" {
		key, err := base64.StdEncoding.DecodeString(r.Encrypt)
		if err != nil {
			return c, errors.New("encrypt (-encrypt) is not base64")
		}
		c.Gossip.Keys = [][]byte{key}
	}
	c.Raft = rpcserver.Raft{
		HeartbeatTimeout: r.Raft.HeartbeatTimeout, ElectionTimeout: r.Raft.ElectionTimeout,
		LeaderLeaseTimeout: r.Raft.LeaderLeaseTimeout, PreVoteDisabled: r.Raft.PreVoteDisabled,
		SnapshotThreshold: uint64(r.Raft.SnapshotThreshold), SnapshotInterval: r.Raft.SnapshotInterval,
		TrailingLogs: uint64(r.Raft.TrailingLogs), Backend: r.Raft.LogStoreBackend,
		FreelistSync: !r.Raft.NoFreelistSync, SegmentSize: r.Raft.WALSegmentSizeMB << 20,
		StallLimit: r.Raft.DiskStallLimit,
	}
	c.RPCHoldTimeout, c.LeaveDrainTime = r.RPCHoldTimeout, r.LeaveDrainTime
	c.DefaultQueryTime, c.MaxQueryTime = r.DefaultQueryTime, r.MaxQueryTime
	c.ReconnectTimeout = r.ReconnectTimeout
	c.SessionTTLMin = r.SessionTTLMin
	c.VerifyState, c.VerifyInterval = r.VerifyState, r.VerifyStateInterval
	c.Limits = serverLimits(r.Limits)
	c.Autopilot = structs.AutopilotConfig{
		CleanupDeadServers:   r.Autopilot.CleanupDeadServers,
		LastContactThreshold: r.Autopilot.LastContactThreshold,
		MaxTrailingLogs:      uint64(r.Autopilot.MaxTrailingLogs), MinQuorum: uint(r.Autopilot.MinQuorum),
		ServerStabilizationTime: r.Autopilot.ServerStabilizationTime,
	}
	c.DisableCoordinates = r.DisableCoordinates
	if r.Dev {
		c.CoordinateWriteEvery = 100 * time.Millisecond
	}
	if a.backups != nil { // a nil pointer in an interface is not nil
		c.Backups = &backups{a.backups, a}
	}
	c.UserEvent = a.userEvent
	c.Logger = a.logger
	return c, nil
}

func serverLimits(l config.Limits) rpcserver.Limits {
	return rpcserver.Limits{
		HandshakeTimeout: l.RPCHandshakeTimeout, MaxConnsPerClient: l.RPCMaxConnsPerClient,
		KVMaxValueSize: l.KVMaxValueSize, TxnMaxReqLen: l.TxnMaxReqLen, TxnMaxOps: l.TxnMaxOps,
		WatchHistorySize: l.WatchHistorySize, DiskReserve: l.DiskReserveMB << 20,
	}
}

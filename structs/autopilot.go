package structs

import "time"

// AutopilotConfig says how the leader looks after the set of voters.
type AutopilotConfig struct {
	CleanupDeadServers      bool          // remove failed servers once a healthy one replaces them
	LastContactThreshold    time.Duration // a server not in touch with the leader for longer is unhealthy
	MaxTrailingLogs         uint64        // a server further behind, in entries, is unhealthy
	MinQuorum               uint          // never clean up below this many voters
	ServerStabilizationTime time.Duration // how long a new server must be healthy before it votes
	RedundancyZoneTag       string
	DisableUpgradeMigration bool
	UpgradeVersionTag       string
	RaftIndex
}

// AutopilotRequest sets the autopilot configuration. With CAS it does so only
// if Config.ModifyIndex is still that of the stored one; the reply is a bool.
type AutopilotRequest struct {
	Datacenter string
	Config     AutopilotConfig
	CAS        bool
	WriteRequest
}

// Type makes AutopilotRequest a Command.
func (*AutopilotRequest) Type() MessageType { return AutopilotRequestType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *AutopilotRequest) RequestDatacenter() string { return r.Datacenter }

// IndexedAutopilotConfig is the reply to Operator.AutopilotGetConfiguration:
// the configuration, and the meta data of a read, in one map.
type IndexedAutopilotConfig struct {
	AutopilotConfig
	QueryMeta
}

package structs

import "time"

// ServerHealth is the health of one server as the leader sees it.
type ServerHealth struct {
	ID          string
	Name        string
	Address     string // ip:port of its RPC port
	SerfStatus  int    // what gossip says: 0 nothing, 1 alive, 3 left, 4 failed
	Version     string
	Leader      bool
	LastContact time.Duration // since it heard from the leader; below 0 is never
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	Voter       bool
	StableSince time.Time // when Healthy last changed
}

// OperatorHealthReply is the reply to Operator.ServerHealth.
type OperatorHealthReply struct {
	Healthy          bool // all servers are
	FailureTolerance int  // healthy voters that could fail without an outage
	Servers          []ServerHealth
}

// AutopilotState is the reply to Operator.AutopilotState: raft-autopilot's view
// of the servers, in its shape.
type AutopilotState struct {
	Healthy          bool
	FailureTolerance int
	Servers          map[string]*AutopilotServerState // by id
	Leader           string                           // id
	Voters           []string                         // ids
}

// AutopilotServerState is one server in an AutopilotState.
type AutopilotServerState struct {
	Server AutopilotServer
	State  string // leader, voter, non-voter, staging or none
	Stats  AutopilotServerStats
	Health AutopilotServerHealth
}

// AutopilotServer is who a server is.
type AutopilotServer struct {
	ID         string
	Name       string
	Address    string
	NodeStatus string // alive, failed, left or unknown
	Version    string
	Meta       map[string]string // its tags in gossip
	IsLeader   bool
	NodeType   string // voter or read-replica
}

// AutopilotServerStats is how far a server is.
type AutopilotServerStats struct {
	LastContact time.Duration
	LastTerm    uint64
	LastIndex   uint64
}

// AutopilotServerHealth is how a server is.
type AutopilotServerHealth struct {
	Healthy     bool
	StableSince time.Time
}

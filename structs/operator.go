package structs

// RaftServer is one server of the raft configuration.
type RaftServer struct {
	ID              string // node id
	Node            string // node name, "(unknown)" if gossip does not know it
	Address         string // ip:port
	Leader          bool
	ProtocolVersion string
	Voter           bool
	LastIndex       uint64 // last raft index in its log, 0 if it did not answer
}

// RaftConfiguration is the reply to Operator.RaftGetConfiguration.
type RaftConfiguration struct {
	Servers []*RaftServer
	Index   uint64 // raft index of the configuration
}

// RaftPeerRequest names a server of the raft configuration by ID or Address.
type RaftPeerRequest struct {
	Datacenter string
	Address    string
	ID         string
	NonVoter   bool // Operator.RaftAddPeer: add it without a vote, and leave it so
	WriteRequest
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *RaftPeerRequest) RequestDatacenter() string { return r.Datacenter }

// RaftStats is the reply to Status.RaftStats.
type RaftStats struct {
	LastContact string // as a Go duration, "0" on the leader, "never"
	LastTerm    uint64
	LastIndex   uint64
}

// LeadershipTransfer is the reply to Operator.TransferLeader.
type LeadershipTransfer struct {
	Success bool
}

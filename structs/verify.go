package structs

// VerifyRequest changes nothing. It stands in the log at the index at which all
// servers hash their states, so that all hash the same one. A version that does
// not know it may skip it.
type VerifyRequest struct {
	Datacenter string
}

// Type makes VerifyRequest a Command.
func (*VerifyRequest) Type() MessageType { return VerifyStateType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *VerifyRequest) RequestDatacenter() string { return q.Datacenter }

// StateHashRequest asks a server for the hash of its state at an index.
type StateHashRequest struct {
	Datacenter string
	Index      uint64
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *StateHashRequest) RequestDatacenter() string { return q.Datacenter }

// StateHash is the hash of a server's state, as of the entry at one index.
// States of servers of different builds are not compared.
type StateHash struct {
	Index uint64
	Hash  []byte // SHA-256 of the state's snapshot stream
	Build string
}

package structs

// ResyncRequest says where a server stands that cannot follow the leader: which
// snapshot it has, and the last index of its log.
type ResyncRequest struct {
	Datacenter  string
	Index, Term uint64 // of the snapshot
	Last        uint64
	Late        bool // it is ahead of the leader's snapshot, and cannot take the entries behind that
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *ResyncRequest) RequestDatacenter() string { return q.Datacenter }

// ResyncReply says what the leader did.
type ResyncReply struct {
	Cut bool // it has cut its log, so that a snapshot is sent
}

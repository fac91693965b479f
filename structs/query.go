package structs

import "time"

// QueryOptions stands in every read request.
type QueryOptions struct {
	Token                    string
	MinQueryIndex            uint64        // raft index; above 0 the read waits for a higher one
	MaxQueryTime             time.Duration // longest wait; 0 means the server's default
	AllowStale               bool          // any server may answer from its own state
	RequireConsistent        bool          // the leader proves that it leads before it answers
	UseCache                 bool
	MaxAge                   time.Duration
	MustRevalidate           bool
	StaleIfError             time.Duration
	MaxStaleDuration         time.Duration
	Filter                   string
	AllowNotModifiedResponse bool
}

// Options returns the options of a read request.
func (q *QueryOptions) Options() *QueryOptions { return q }

// QueryMeta stands in every read reply.
type QueryMeta struct {
	Index                 uint64        // raft index of what was read, at least 1
	LastContact           time.Duration // since the answering server heard from the leader; 0 on the leader
	KnownLeader           bool
	ConsistencyLevel      string
	NotModified           bool
	Backend               int
	ResultsFilteredByACLs bool
	Epoch                 string `codec:",omitempty" json:"-"` // of the state that was read; another after a restore
}

// Meta returns the part of a read reply that every read reply has.
func (m *QueryMeta) Meta() *QueryMeta { return m }

// WriteRequest stands in every write request.
type WriteRequest struct {
	Token string
}

// RaftIndex stands in every record: the raft indexes at which it was created
// and last changed.
type RaftIndex struct {
	CreateIndex uint64
	ModifyIndex uint64
}

// DCSpecificRequest is a read that needs no more than the datacenter.
type DCSpecificRequest struct {
	Datacenter      string
	NodeMetaFilters map[string]string
	Source          QuerySource
	PeerName        string
	QueryOptions
}

// QuerySource says where a query comes from, for sorting by distance.
type QuerySource struct {
	Datacenter    string
	Segment       string
	Node          string
	NodePartition string
	DisableNode   bool
	Ip            string
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *DCSpecificRequest) RequestDatacenter() string { return q.Datacenter }

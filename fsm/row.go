package fsm

import (
	"praetor/state"
	"praetor/structs"
)

// Row is one thing that a snapshot holds, as tools show it.
type Row struct {
	Type string // what it is: one of the types below, else the name of the record's type
	Name string // tells it from the others of its type; "" where there is no telling
	Data any    // the record, shared with nobody; the bytes of one that is carried
}

// The types of rows.
const (
	RowKey        = "key"
	RowTombstone  = "tombstone"
	RowNode       = "node"
	RowService    = "service" // *state.Instance, named node/id
	RowCheck      = "check"   // named node/id
	RowSession    = "session"
	RowCoordinate = "coordinate"
	RowQuery      = "query"
	RowAutopilot  = "autopilot"
	RowMetadata   = "metadata"
	RowIndex      = "index"
)

// Rows takes the records of one stream apart. Its zero value is ready.
type Rows struct {
	nodes map[string]bool // those that had a record, by name
}

// Of yields the rows that a record holds. A node is a row when its own record
// comes, or with the first of its services and checks if that comes before.
func (rows *Rows) Of(rec Record, yield func(Row) error) error {
	switch rec.Kind {
	case structs.RegisterRequestType:
		return rows.registration(rec.Value, yield)
	case structs.KVSRequestType:
		return one(rec, RowKey, func(e *structs.DirEntry) string { return e.Key }, yield)
	case structs.TombstoneRequestType:
		return one(rec, RowTombstone, func(e *structs.DirEntry) string { return e.Key }, yield)
	case structs.SessionRequestType:
		return one(rec, RowSession, func(s *structs.Session) string { return structs.FoldName(s.ID) }, yield)
	case structs.PreparedQueryRequestType:
		return one(rec, RowQuery, func(q *structs.PreparedQuery) string { return structs.FoldName(q.ID) }, yield)
	case structs.AutopilotRequestType:
		return one(rec, RowAutopilot, func(*structs.AutopilotConfig) string { return "config" }, yield)
	case structs.SystemMetadataRequestType:
		return one(rec, RowMetadata, func(e *structs.MetadataEntry) string { return e.Key }, yield)
	case structs.IndexType:
		return one(rec, RowIndex, func(e *structs.IndexEntry) string { return structs.FoldName(e.Key) }, yield)
	case structs.ChunkingStateType:
		return one(rec, rec.Kind.String(), func(*structs.ChunkingState) string { return "" }, yield)
	case structs.CoordinateBatchUpdateType:
		var batch structs.CoordinateBatch
		if err := structs.DecodeValue(rec.Value, &batch); err != nil {
			return err
		}
		for _, c := range batch {
			if c == nil {
				continue
			}
			if err := yield(Row{RowCoordinate, join(structs.FoldName(c.Node), c.Segment), c}); err != nil {
				return err
			}
		}
		return nil
	}
	return yield(Row{rec.Kind.String(), "", append([]byte(nil), rec.Value...)})
}

func one[T any](rec Record, kind string, name func(*T) string, yield func(Row) error) error {
	row := new(T)
	if err := structs.DecodeValue(rec.Value, row); err != nil {
		return err
	}
	return yield(Row{kind, name(row), row})
}

func (rows *Rows) registration(value []byte, yield func(Row) error) error {
	c := new(structs.RegisterRequest)
	if err := structs.DecodeValue(value, c); err != nil {
		return err
	}
	node := NodeName(c.PeerName, c.Node)
	checks := c.Checks
	if c.Check != nil {
		checks = append([]*structs.HealthCheck{c.Check}, checks...)
	}
	if alone := c.Service == nil && len(checks) == 0; alone || !rows.nodes[node] {
		if rows.nodes == nil {
			rows.nodes = map[string]bool{}
		}
		rows.nodes[node] = true
		n := &structs.Node{
			ID: c.ID, Node: c.Node, Address: c.Address, Datacenter: c.Datacenter, PeerName: c.PeerName,
			TaggedAddresses: c.TaggedAddresses, Meta: c.NodeMeta, Locality: c.Locality, RaftIndex: c.RaftIndex,
		}
		if err := yield(Row{RowNode, node, n}); err != nil {
			return err
		}
	}
	if c.Service != nil {
		row := &state.Instance{Node: c.Node, Service: *c.Service}
		if err := yield(Row{RowService, join(node, structs.FoldName(c.Service.ID)), row}); err != nil {
			return err
		}
	}
	for _, check := range checks {
		if check == nil {
			return structs.Errorf(structs.Corrupt, "a check of node %s is empty", c.Node)
		}
		if err := yield(Row{RowCheck, join(node, structs.FoldName(check.CheckID)), check}); err != nil {
			return err
		}
	}
	return nil
}

// NodeName names the row of a node; peer is "" for our own.
func NodeName(peer, node string) string {
	if peer != "" {
		return structs.FoldName(peer) + ":" + structs.FoldName(node)
	}
	return structs.FoldName(node)
}

func join(a, b string) string { return a + "/" + b }

// Content is the row's data without what says when it was written: the raft
// indexes and the number of its lock. Equal contents are equal to a reader.
func (row Row) Content() any {
	switch data := row.Data.(type) {
	case *structs.DirEntry:
		return &structs.DirEntry{Key: data.Key, Flags: data.Flags, Value: data.Value, Session: data.Session, TTL: data.TTL}
	case *structs.Node:
		n := *data
		n.RaftIndex = structs.RaftIndex{}
		return &n
	case *state.Instance:
		i := *data
		i.Service.RaftIndex = structs.RaftIndex{}
		return &i
	case *structs.HealthCheck:
		c := *data
		c.RaftIndex = structs.RaftIndex{}
		return &c
	case *structs.Session:
		s := *data
		s.RaftIndex = structs.RaftIndex{}
		return &s
	case *structs.PreparedQuery:
		q := *data
		q.RaftIndex = structs.RaftIndex{}
		return &q
	}
	return row.Data
}

package fsm

import (
	"fmt"
	"io"

	"praetor/state"
	"praetor/structs"
)

// Check reads a snapshot stream and finds all in it that no cluster can have
// written: records that cannot be restored, rows that are there twice or want
// others that are not there, indexes that lie ahead. Of each row it keeps the
// name, of keys no values.
type Check struct {
	Records int                       // how many have been read
	Skipped func(structs.MessageType) // told of each Enterprise record, which else is an error

	violations []string
	header     uint64
	rows       Rows
	counts     map[string]int                  // of rows by type
	seen       map[string]bool                 // type and name of every row but keys
	keys       map[string]uint64               // CreateIndex by key
	statuses   map[string]*structs.HealthCheck // checks by name
	highest    map[string]uint64               // highest ModifyIndex by table
	indexes    map[string]uint64               // index rows
	scratch    *loader                         // see loader
	loaded     int

	// Rows that want others, which may come later in the stream.
	locks      []heldLock
	sessions   []*structs.Session
	checks     []*structs.HealthCheck
	tombstones []*structs.DirEntry
	later      []dated
}

// Run reads the stream to its end. An error means that it cannot be read
// further.
func (c *Check) Run(r io.Reader) error {
	header, sequence := Records(r)
	c.header, c.counts = header.LastIndex, map[string]int{}
	c.seen, c.keys, c.statuses = map[string]bool{}, map[string]uint64{}, map[string]*structs.HealthCheck{}
	c.highest, c.indexes = map[string]uint64{}, map[string]uint64{}
	defer c.close()
	for rec, err := range sequence {
		if err != nil {
			return err
		}
		if rec.Kind.Enterprise() {
			if c.Skipped == nil {
				return ErrEnterprise(rec.Kind)
			}
			c.Skipped(rec.Kind)
			continue
		}
		c.Records++
		if err := c.record(rec); err != nil {
			c.violation("record %d, of type %v, cannot be restored: %v", c.Records, rec.Kind, err)
		}
	}
	c.relations()
	return nil
}

// Count is how many rows of a type there are.
func (c *Check) Count(kind string) int { return c.counts[kind] }

// Violations are all that was found, given the raft index of the snapshot's
// metadata, in the order of the stream.
func (c *Check) Violations(raftIndex uint64) []string {
	list := c.violations
	if c.header > raftIndex {
		list = append(list, fmt.Sprintf("the header says that the state is of index %d: the snapshot was taken at %d", c.header, raftIndex))
	}
	for _, d := range c.later {
		if d.index > raftIndex {
			list = append(list, fmt.Sprintf("%s %d: the snapshot was taken at %d", d.what, d.index, raftIndex))
		}
	}
	return list
}

// dated is what happened at an index later than the header's: metadata and the
// TTL of keys have no table that would count in that.
type dated struct {
	what  string
	index uint64
}

func (c *Check) date(index uint64, format string, args ...any) {
	if index > c.header {
		c.later = append(c.later, dated{fmt.Sprintf(format, args...), index})
	}
}

type heldLock struct{ key, session string }

func (c *Check) violation(format string, args ...any) {
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

func (c *Check) record(rec Record) error {
	switch rec.Kind {
	case structs.KVSRequestType, structs.TombstoneRequestType: // as below, without a store
	default:
		if err := recordOf(rec.Kind).read(c.loader(), rec.Value); err != nil {
			return err
		}
	}
	return c.rows.Of(rec, func(row Row) error {
		c.row(row)
		return nil
	})
}

// scratchRecords is how many records go into a scratch store before the next one
// takes its place: a restore is tried out in memory that has a bound.
const scratchRecords = 4096

func (c *Check) loader() *loader {
	if c.loaded%scratchRecords == 0 {
		c.close()
		c.scratch = &loader{Loaded: Loaded{Store: state.New(), Header: structs.SnapshotHeader{LastIndex: c.header}}}
		c.scratch.writer = c.scratch.Store.Write()
	}
	c.loaded++
	return c.scratch
}

func (c *Check) close() {
	if c.scratch != nil {
		c.scratch.writer.Abort()
	}
}

func (c *Check) row(row Row) {
	c.counts[row.Type]++
	if row.Name == "" && row.Type != RowKey {
		return // a record that is not ours to understand
	}
	what := row.Type + " " + row.Name
	if e, isKey := row.Data.(*structs.DirEntry); isKey && row.Type == RowKey {
		c.key(what, e)
		return
	}
	// What a restore puts behind the stream, to be stamped with its own index, may
	// take the place of an entry before it.
	entry, isMetadata := row.Data.(*structs.MetadataEntry)
	if again := isMetadata && entry.ModifyIndex == 0; c.seen[what] && !again {
		c.violation("%s is there twice", what)
	}
	c.seen[what] = true
	switch data := row.Data.(type) {
	case *structs.DirEntry:
		c.index(what, state.Tombstones.Name(), structs.RaftIndex{ModifyIndex: data.ModifyIndex})
		c.tombstones = append(c.tombstones, data)
	case *structs.Session:
		c.index(what, state.Sessions.Name(), data.RaftIndex)
		c.sessions = append(c.sessions, data)
	case *structs.Node:
		c.index(what, state.Nodes.Name(), data.RaftIndex)
	case *state.Instance:
		c.index(what, state.Services.Name(), data.Service.RaftIndex)
	case *structs.HealthCheck:
		c.index(what, state.Checks.Name(), data.RaftIndex)
		c.statuses[row.Name] = data
		c.checks = append(c.checks, data)
	case *structs.PreparedQuery:
		c.index(what, state.PreparedQueries.Name(), data.RaftIndex)
	case *structs.IndexEntry:
		c.indexes[row.Name] = data.Value
		c.date(data.Value, "index row %s says", row.Name)
	case *structs.MetadataEntry:
		c.date(data.ModifyIndex, "%s was changed at index", what)
	}
}

func (c *Check) key(what string, e *structs.DirEntry) {
	if _, twice := c.keys[e.Key]; twice {
		c.violation("%s is there twice", what)
	}
	c.keys[e.Key] = e.CreateIndex
	c.index(what, state.KVs.Name(), e.RaftIndex)
	c.date(e.TTLIndex, "the TTL of %s runs since index", what)
	if e.LockDelayIndex > c.header {
		c.violation("%s has a lock delay of index %d: the state is of index %d", what, e.LockDelayIndex, c.header)
	}
	if e.Session != "" {
		c.locks = append(c.locks, heldLock{e.Key, e.Session})
		if e.LockIndex == 0 {
			c.violation("%s is locked and has never been locked: its LockIndex is 0", what)
		}
	}
}

// index looks at the indexes of a row of a table that has an index row.
func (c *Check) index(what, table string, i structs.RaftIndex) {
	c.highest[table] = max(c.highest[table], i.ModifyIndex)
	if i.CreateIndex > i.ModifyIndex {
		c.violation("%s was created at index %d, after its last change at %d", what, i.CreateIndex, i.ModifyIndex)
	}
	if i.ModifyIndex > c.header {
		c.violation("%s was changed at index %d: the state is of index %d", what, i.ModifyIndex, c.header)
	}
}

func (c *Check) has(kind, name string) bool { return c.seen[kind+" "+name] }

// relations looks at what rows want of each other.
func (c *Check) relations() {
	for _, l := range c.locks {
		if !c.has(RowSession, structs.FoldName(l.session)) {
			c.violation("key %s is locked by session %s, which is not there", l.key, l.session)
		}
	}
	for _, s := range c.sessions {
		c.session(s)
	}
	for _, check := range c.checks {
		node := NodeName(check.PeerName, check.Node)
		if check.ServiceID != "" && !c.has(RowService, join(node, structs.FoldName(check.ServiceID))) {
			c.violation("check %s on node %s is of service %s, which is not there", check.CheckID, check.Node, check.ServiceID)
		}
	}
	for _, t := range c.tombstones {
		if created, alive := c.keys[t.Key]; alive && created < t.ModifyIndex {
			c.violation("key %s was created at index %d and deleted at %d: it should not be there", t.Key, created, t.ModifyIndex)
		}
	}
	for _, table := range []string{state.KVs.Name(), state.Tombstones.Name(), state.Sessions.Name(), state.PreparedQueries.Name()} {
		if at, written := c.indexes[table]; written && at < c.highest[table] {
			c.violation("index row %s says %d, and has a row that was changed at %d", table, at, c.highest[table])
		}
	}
}

func (c *Check) session(s *structs.Session) {
	if !c.has(RowNode, structs.FoldName(s.Node)) {
		c.violation("session %s is of node %s, which is not there", s.ID, s.Node)
		return
	}
	ids := append(append([]string(nil), s.NodeChecks...), s.Checks...)
	for _, check := range s.ServiceChecks {
		ids = append(ids, check.ID)
	}
	for _, id := range ids {
		switch check := c.statuses[join(structs.FoldName(s.Node), structs.FoldName(id))]; {
		case check == nil:
			c.violation("session %s depends on check %s of node %s, which is not there", s.ID, id, s.Node)
		case check.Status == structs.HealthCritical && check.Type != "session":
			c.violation("session %s depends on check %s of node %s, which is critical", s.ID, id, s.Node)
		}
	}
}

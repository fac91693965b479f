package journal

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/structs"
)

// Change is something that a command in the log was to do. Whether it came to
// it, as with a compare-and-set, the log does not say.
type Change struct {
	Index uint64
	Term  uint64
	Time  time.Time // of the leader that wrote it
	Chain string
	Op    string // set, delete-tree, session create, register service, ...
	Key   string // the key, or what else is changed
	Size  int    // bytes of the value
	Txn   bool   `json:",omitempty"` // one of several that come together

	kv bool
}

// Command is the operation with the key, as Filter takes it.
func (c *Change) Command() string { return c.Op + " " + c.Key }

// Filter says which changes are meant.
type Filter struct {
	Prefix       string    // of keys; leaves out whatever is no key unless it is ""
	Since, Until time.Time // zero: no bound
	Command      string    // "delete-tree app/": exactly this operation on this key; "" takes all
}

func (f *Filter) takes(c *Change) bool {
	switch {
	case f.Prefix != "" && !(c.kv && touches(c, f.Prefix)),
		!f.Since.IsZero() && c.Time.Before(f.Since),
		!f.Until.IsZero() && c.Time.After(f.Until),
		f.Command != "" && c.Command() != f.Command:
		return false
	}
	return true
}

// touches reports whether a change is of keys with a prefix: the delete of a
// whole tree above it is.
func touches(c *Change, prefix string) bool {
	return strings.HasPrefix(c.Key, prefix) || c.Op == string(structs.KVDeleteTree) && strings.HasPrefix(prefix, c.Key)
}

// Changes yields what the archived log holds, chain by chain, the youngest last.
// A gap inside a chain, or a damaged segment, is yielded as an error, and what
// follows it comes after.
func (l *Log) Changes(ctx context.Context, f Filter) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for _, chain := range l.Chains() {
			if !l.changesOf(ctx, chain, f, yield) {
				return
			}
		}
	}
}

func (l *Log) changesOf(ctx context.Context, chain string, f Filter, yield func(Change, error) bool) bool {
	var joiner fsm.Joiner
	from := uint64(0)
	for from = l.after(chain, from); from != 0; from = l.after(chain, from) {
		for log, err := range l.Entries(ctx, chain, from) {
			if err != nil {
				if !yield(Change{}, err) || !structs.IsCode(err, structs.Corrupt) && !structs.IsCode(err, structs.NotFound) {
					return false
				}
				from = l.beyond(chain, from)
				break
			}
			from = log.Index + 1
			for _, c := range changesIn(&joiner, log) {
				if c.Chain = chain; f.takes(&c) && !yield(c, nil) {
					return false
				}
			}
		}
	}
	return true
}

// after is the first index at or behind index that the chain has, 0 if none.
func (l *Log) after(chain string, index uint64) uint64 {
	var first uint64
	for _, s := range l.segments {
		if s.Chain == chain && s.Last >= index {
			if at := max(s.First, index); first == 0 || at < first {
				first = at
			}
		}
	}
	return first
}

// beyond is the end of what stands, damaged, at index.
func (l *Log) beyond(chain string, index uint64) uint64 {
	for _, s := range l.segments {
		if s.Chain == chain && s.First <= index && s.Last >= index {
			return s.Last + 1
		}
	}
	return index
}

// changesIn are those of one entry; of one that was split, with its last part.
func changesIn(joiner *fsm.Joiner, log *raft.Log) []Change {
	data, whole := joiner.Add(log)
	if !whole {
		return nil
	}
	at := Change{Index: log.Index, Term: log.Term, Time: log.AppendedAt}
	command, err := fsm.DecodeCommand(data)
	if err != nil {
		at.Op, at.Key, at.Size = "unknown", err.Error(), len(data)
		return []Change{at}
	}
	return describe(at, command)
}

// describe says what a command was to change.
func describe(at Change, command structs.Command) []Change {
	one := func(op, key string, size int) []Change {
		at.Op, at.Key, at.Size = op, key, size
		return []Change{at}
	}
	switch c := command.(type) {
	case *structs.KVSRequest:
		at.kv = true
		return one(string(c.Op), c.DirEnt.Key, len(c.DirEnt.Value))
	case *structs.TxnRequest:
		return describeTxn(at, c)
	case *structs.SessionRequest:
		return one("session "+string(c.Op), c.Session.ID, 0)
	case *structs.RegisterRequest:
		if c.Service != nil {
			return one("register service", c.Node+"/"+c.Service.Service, 0)
		}
		if c.Check != nil || len(c.Checks) > 0 {
			return one("register check", c.Node, 0)
		}
		return one("register node", c.Node, 0)
	case *structs.DeregisterRequest:
		switch {
		case c.ServiceID != "":
			return one("deregister service", c.Node+"/"+c.ServiceID, 0)
		case c.CheckID != "":
			return one("deregister check", c.Node+"/"+c.CheckID, 0)
		}
		return one("deregister node", c.Node, 0)
	case *structs.PreparedQueryRequest:
		if c.Query != nil {
			return one("query "+string(c.Op), c.Query.ID, 0)
		}
	case *structs.CoordinateBatch:
		return one("coordinates", fmt.Sprintf("%d nodes", len(*c)), 0)
	case *structs.TombstoneRequest:
		return one("reap tombstones", fmt.Sprintf("to index %d", c.ReapIndex), 0)
	case *structs.AutopilotRequest:
		return one("autopilot", "", 0)
	case *structs.MetadataRequest:
		if c.Entry != nil {
			return one("metadata "+string(c.Op), c.Entry.Key, len(c.Entry.Value))
		}
	}
	return one(command.Type().String(), "", 0)
}

func describeTxn(at Change, c *structs.TxnRequest) []Change {
	var changes []Change
	for i := range c.Ops {
		op := &c.Ops[i]
		if !op.Writes() {
			continue
		}
		change := at
		change.Txn = true
		switch {
		case op.KV != nil:
			change.kv = true
			change.Op, change.Key, change.Size = string(op.KV.Verb), op.KV.DirEnt.Key, len(op.KV.DirEnt.Value)
		case op.Node != nil:
			change.Op, change.Key = "node "+string(op.Node.Verb), op.Node.Node.Node
		case op.Service != nil:
			change.Op, change.Key = "service "+string(op.Service.Verb), op.Service.Node+"/"+op.Service.Service.Service
		case op.Check != nil:
			change.Op, change.Key = "check "+string(op.Check.Verb), op.Check.Check.Node+"/"+string(op.Check.Check.CheckID)
		case op.Session != nil:
			change.Op, change.Key = "session "+string(op.Session.Verb), op.Session.Session.ID
		}
		changes = append(changes, change)
	}
	return changes
}

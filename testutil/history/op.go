package history

import (
	"fmt"
	"strings"

	"praetor/structs"
)

// Kind is what a call asks for.
type Kind string

// The kinds of calls.
const (
	Get        Kind = "get"
	List       Kind = "list" // all keys that begin with Key
	Put        Kind = "put"
	CAS        Kind = "cas" // Index is the ModifyIndex that the key must have, 0: there must be none
	Delete     Kind = "delete"
	DeleteCAS  Kind = "delete-cas"
	DeleteTree Kind = "delete-tree"
	Txn        Kind = "txn"     // Steps, all or none
	Restore    Kind = "restore" // the whole state is replaced; Entries are the keys of the snapshot

	Acquire   Kind = "acquire"    // take the lock on Key for Session
	Release   Kind = "release"    // give it back
	FencedPut Kind = "fenced-put" // set Data if the lock on Key is held under LockIndex
	Create    Kind = "create"     // a session; says nothing
	Renew     Kind = "renew"      // Session; only those that found it alive say anything
	Destroy   Kind = "destroy"    // Session

	believe Kind = "believe" // what a follower of a feed takes for the state at Index
)

// Read is how a read is to be answered.
type Read string

// The kinds of reads.
const (
	Consistent Read = "consistent"
	Default    Read = "default"
	Stale      Read = "stale"
)

// Op is what a client asks for. Which fields count depends on its kind.
type Op struct {
	Kind      Kind
	Key       string // or the prefix
	Service   bool   // Key is the name of a service
	Value     string // no other write of the key has it
	Index     uint64
	Steps     []Step
	Session   string
	LockIndex uint64
	Data      string // key that a lock guards
	Entries   []Entry

	Read  Read
	After uint64 // a read that waits for a higher index than this

	Server string // that the call went to
	Life   uint64 // which process of that server it was; 0: that is not certain
}

// Step is one operation of a transaction.
type Step struct {
	Verb       structs.KVOp
	Key, Value string
	Index      uint64
}

// Entry is a key as it was read.
type Entry struct {
	Key, Value             string
	ModifyIndex, LockIndex uint64
	Session                string
}

// Result is what a client was told.
type Result struct {
	OK        bool    // of cas, delete-cas, txn, acquire, release, fenced-put and renew: it was done
	NoSession bool    // of acquire: there is no such session
	Entries   []Entry // of reads and transactions, as they came
	Index     uint64  // of a read: X-Consul-Index; 0: it says nothing about the key
	Epoch     string
}

// EntryOf is an entry as it comes from a server.
func EntryOf(e *structs.DirEntry) Entry {
	return Entry{e.Key, string(e.Value), e.ModifyIndex, e.LockIndex, e.Session}
}

// EntriesOf are entries as they come from a server.
func EntriesOf(rows []*structs.DirEntry) []Entry {
	var entries []Entry
	for _, row := range rows {
		entries = append(entries, EntryOf(row))
	}
	return entries
}

// reads reports whether the call changes nothing.
func (o *Op) reads() bool {
	switch o.Kind {
	case Get, List, Create, Renew, believe:
		return true
	case Txn:
		return !o.writes()
	}
	return false
}

func (o *Op) writes() bool {
	for _, s := range o.Steps {
		if sets(s.Verb) || s.Verb == structs.KVDelete || s.Verb == structs.KVDeleteCAS || s.Verb == structs.KVDeleteTree {
			return true
		}
	}
	return false
}

func sets(verb structs.KVOp) bool { return verb == structs.KVSet || verb == structs.KVCAS }

// written yields the values that the call writes, if it does.
func (o *Op) written(yield func(named) bool) {
	switch o.Kind {
	case Put, CAS:
		yield(named{o.Key, o.Value})
	case FencedPut:
		yield(named{o.Data, o.Value})
	case Txn:
		for _, s := range o.Steps {
			if sets(s.Verb) && !yield(named{s.Key, s.Value}) {
				return
			}
		}
	}
}

// named is a value of a key: the name of one write.
type named struct{ key, value string }

// String is the call as people read it.
func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", o.Kind)
	if o.Read != "" && o.Read != Consistent {
		fmt.Fprintf(&b, " (%s)", o.Read)
	}
	switch o.Kind {
	case Txn:
		for i, s := range o.Steps {
			if i > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, " %s %s", s.Verb, s.Key)
			if sets(s.Verb) {
				fmt.Fprintf(&b, "=%s", s.Value)
			}
			if s.Index > 0 {
				fmt.Fprintf(&b, " at %d", s.Index)
			}
		}
	case FencedPut:
		fmt.Fprintf(&b, " %s=%s under %s:%d", o.Data, o.Value, o.Key, o.LockIndex)
	case Acquire, Release:
		fmt.Fprintf(&b, " %s for %s", o.Key, o.Session)
	case Renew, Destroy:
		fmt.Fprintf(&b, " %s", o.Session)
	case Restore:
		fmt.Fprintf(&b, " %s", show(o.Entries))
	case believe:
		fmt.Fprintf(&b, " at %d %s", o.Index, show(o.Entries))
	case Put:
		fmt.Fprintf(&b, " %s=%s", o.Key, o.Value)
	case CAS:
		fmt.Fprintf(&b, " %s=%s at %d", o.Key, o.Value, o.Index)
	case DeleteCAS:
		fmt.Fprintf(&b, " %s at %d", o.Key, o.Index)
	default:
		fmt.Fprintf(&b, " %s", o.Key)
	}
	if o.After > 0 {
		fmt.Fprintf(&b, " after %d", o.After)
	}
	return b.String()
}

func show(entries []Entry) string {
	if len(entries) == 0 {
		return "nothing"
	}
	var texts []string
	for _, e := range entries {
		text := fmt.Sprintf("%s=%s@%d", e.Key, e.Value, e.ModifyIndex)
		if e.LockIndex > 0 {
			text += fmt.Sprintf(" lock %d of %q", e.LockIndex, e.Session)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

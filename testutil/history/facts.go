package history

import (
	"fmt"
	"slices"
	"strings"

	"praetor/structs"
)

// facts are what the whole record says of its writes. A value names its write,
// so whoever has read it has told the index of that write.
type facts struct {
	calls   []*Call // all but those that failed
	seen    map[named]sighting
	locks   map[string]string // key of a lock, and key of what it guards -> key of the lock
	groups  *union            // of keys that are checked together
	writers map[named]*Call   // failed ones too
	history *Recorder

	stretches []*stretch // of all feeds
	views     []view
	begun     []beginning // by index; made when it is first asked for
}

// sighting is what is known of a write from those who have read its value.
type sighting struct {
	index uint64
	first int64 // event at which the first of them was told
	by    *Call // nil: a feed
}

// learn collects the facts, and what is wrong with them.
func (r *Recorder) learn() (*facts, []Violation) {
	f := &facts{seen: map[named]sighting{}, locks: map[string]string{}, groups: newUnion(), writers: map[named]*Call{}, history: r}
	for _, c := range r.calls {
		if c.outcome != failed {
			f.calls = append(f.calls, c)
		}
		switch c.op.Kind {
		case Acquire, Release:
			f.locks[c.op.Key] = c.op.Key
		case FencedPut:
			f.locks[c.op.Key], f.locks[c.op.Data] = c.op.Key, c.op.Key
		}
	}
	violations := f.lookAround()
	f.tighten()
	f.connect()
	return f, append(violations, f.checkValues()...)
}

// lookAround notes every value that was read, with its index.
func (f *facts) lookAround() (violations []Violation) {
	note := func(n named, index uint64, at int64, by *Call) {
		if index == 0 || f.locks[n.key] == n.key && n.key != "" {
			return // a lock changes the index of a key and leaves the value
		}
		before, known := f.seen[n]
		switch {
		case !known:
			f.seen[n] = sighting{index, at, by}
		case before.index != index:
			violations = append(violations, Violation{Check: "values",
				What: fmt.Sprintf("%s=%s was read at index %d and at index %d", n.key, n.value, before.index, index), calls: tellers(before.by, by)})
		case at < before.first:
			f.seen[n] = sighting{index, at, by}
		}
	}
	for _, c := range f.calls {
		if c.outcome != done {
			continue
		}
		entries := c.result.Entries
		if c.op.Kind == Txn {
			entries = c.rows()
		}
		for _, e := range entries {
			note(named{e.Key, e.Value}, e.ModifyIndex, c.ret, c)
		}
	}
	for _, feed := range f.history.feeds {
		for _, e := range feed.events {
			if e.entry != nil && !e.gone() {
				note(named{e.entry.Key, e.entry.Value}, e.entry.ModifyIndex, e.at, nil)
			}
		}
	}
	return violations
}

// rows are the rows of a transaction with the values that it has set in them:
// those come without. Rows of what it overwrites or deletes itself are left
// out, since nobody else can see that. A get-tree must be its last step.
func (c *Call) rows() (rows []Entry) {
	told := c.result.Entries
	for _, s := range c.op.Steps {
		found := 0
		switch s.Verb {
		case structs.KVGetTree:
			found = len(told)
		case structs.KVSet, structs.KVCAS, structs.KVGet, structs.KVGetOrEmpty, structs.KVCheckIndex:
			found = min(1, len(told))
		}
		for _, e := range told[:found] {
			if sets(s.Verb) {
				e.Value = s.Value
			}
			if s.Verb != structs.KVCheckIndex && !c.op.undoes(named{e.Key, e.Value}) {
				rows = append(rows, e)
			}
		}
		told = told[found:]
	}
	return rows
}

// undoes reports whether a transaction writes a value that it overwrites or
// deletes again.
func (o *Op) undoes(n named) bool {
	own := false
	for _, s := range o.Steps {
		own = own || sets(s.Verb) && (named{s.Key, s.Value}) == n
	}
	if !own {
		return false
	}
	for _, s := range slices.Backward(o.Steps) {
		switch s.Verb {
		case structs.KVSet, structs.KVCAS:
			if s.Key == n.key {
				return s.Value != n.value
			}
		case structs.KVDelete, structs.KVDeleteCAS:
			if s.Key == n.key {
				return true
			}
		case structs.KVDeleteTree:
			if strings.HasPrefix(n.key, s.Key) {
				return true
			}
		}
	}
	return false
}

// tighten ends open calls whose effect was seen: it was there by then.
func (f *facts) tighten() {
	for _, c := range f.calls {
		if c.outcome != open {
			continue
		}
		for n := range c.op.written {
			if s, known := f.seen[n]; known {
				c.ret = min(c.ret, s.first)
			}
		}
	}
}

// connect puts keys that some call has named together into one group.
func (f *facts) connect() {
	for _, c := range f.calls {
		f.groups.add(c.keys()...)
	}
	all := f.groups.names()
	for _, c := range f.calls {
		for _, prefix := range c.prefixes() {
			first := ""
			for i, _ := slices.BinarySearch(all, prefix); i < len(all) && strings.HasPrefix(all[i], prefix); i++ {
				if first == "" {
					first = all[i]
				}
				f.groups.join(first, all[i])
			}
		}
	}
}

// keys are those that the call names or has found.
func (c *Call) keys() (keys []string) {
	switch c.op.Kind {
	case Get, Put, CAS, Delete, DeleteCAS, Acquire, Release, FencedPut:
		keys = append(keys, c.op.Key)
	}
	if c.op.Data != "" {
		keys = append(keys, c.op.Data)
	}
	for _, s := range c.op.Steps {
		keys = append(keys, s.Key)
	}
	if c.op.Kind != Get {
		for _, e := range c.result.Entries {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

func (c *Call) prefixes() (prefixes []string) {
	if c.op.Kind == List || c.op.Kind == DeleteTree {
		prefixes = append(prefixes, c.op.Key)
	}
	for _, s := range c.op.Steps {
		if s.Verb == structs.KVGetTree || s.Verb == structs.KVDeleteTree {
			prefixes = append(prefixes, s.Key)
		}
	}
	return prefixes
}

// indexOf is the raft index of a write, 0 if nobody has seen it.
func (f *facts) indexOf(op *Op) (index uint64) {
	for n := range op.written {
		index = max(index, f.seen[n].index)
	}
	return index
}

// checkValues finds values that nobody can have written by then, and
// transactions that were written in pieces.
func (f *facts) checkValues() (violations []Violation) {
	for _, c := range f.history.calls {
		for n := range c.op.written {
			if other := f.writers[n]; other != nil && other != c {
				violations = append(violations, Violation{Check: "values", What: fmt.Sprintf("the workload wrote %s=%s twice", n.key, n.value)})
			}
			f.writers[n] = c
		}
		if c.op.Kind == Txn {
			violations = append(violations, f.checkPieces(c)...)
		}
	}
	restored := map[named]bool{}
	for _, c := range f.calls {
		if c.op.Kind == Restore {
			for _, e := range c.op.Entries {
				restored[named{e.Key, e.Value}] = true
			}
		}
	}
	for _, n := range sortedNames(f.seen) {
		s, w := f.seen[n], f.writers[n]
		found := func(what string) {
			violations = append(violations, Violation{Check: "values", What: fmt.Sprintf("%s=%s at index %d %s", n.key, n.value, s.index, what), calls: tellers(w, s.by)})
		}
		switch {
		case w == nil && !restored[n]:
			found("was never written")
		case w == nil:
		case w.outcome == failed:
			found("was read, though its write is said to have done nothing")
		case w.outcome == done && !w.result.OK && w.op.Kind != Put:
			found("was read, though its write was refused")
		case s.first < w.call:
			found("was read before its write began")
		}
	}
	return violations
}

// checkPieces sees to it that everything which a transaction has written has
// one index.
func (f *facts) checkPieces(c *Call) []Violation {
	var index uint64
	for n := range c.op.written {
		s, known := f.seen[n]
		if !known || c.op.undoes(n) { // what it has overwritten itself is nowhere
			continue
		}
		if index != 0 && s.index != index {
			return []Violation{{Check: "values", What: fmt.Sprintf("one transaction has written at index %d and at index %d", index, s.index), calls: tellers(c, s.by)}}
		}
		index = s.index
	}
	return nil
}

func tellers(calls ...*Call) (known []*Call) {
	for _, c := range calls {
		if c != nil && !slices.Contains(known, c) {
			known = append(known, c)
		}
	}
	return known
}

func sortedNames(seen map[named]sighting) []named {
	names := make([]named, 0, len(seen))
	for n := range seen {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b named) int { return strings.Compare(a.key+"\x00"+a.value, b.key+"\x00"+b.value) })
	return names
}

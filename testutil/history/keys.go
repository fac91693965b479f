package history

import (
	"hash/fnv"
	"slices"
	"strings"

	"praetor/structs"
)

// keysState is what some keys are: the model of everything that is not a lock.
// It is never changed.
type keysState struct {
	values []named // of the keys that are there, in key order
	floor  uint64  // lowest raft index that the next write can have, as far as it is known
}

func (s *keysState) find(key string) (int, bool) {
	return slices.BinarySearchFunc(s.values, key, func(n named, key string) int { return strings.Compare(n.key, key) })
}

func equalKeys(a, b any) bool {
	x, y := a.(*keysState), b.(*keysState)
	return x.floor == y.floor && slices.Equal(x.values, y.values)
}

func hashKeys(state any) uint64 {
	h := fnv.New64a()
	for _, n := range state.(*keysState).values {
		h.Write([]byte(n.key))
		h.Write([]byte{0})
		h.Write([]byte(n.value))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// step returns what a call makes of the keys, and whether it may have been
// told there what it was told.
func (g *group) step(before *keysState, c *Call) (bool, *keysState) {
	w := keysWriter{facts: g.facts, keysState: keysState{slices.Clone(before.values), before.floor}, index: g.indexOf(&c.op)}
	op, told := &c.op, &c.result
	sure := c.outcome == done
	fits := func(got bool) bool { return !sure || got == told.OK }
	ok := true
	switch op.Kind {
	case Get:
		e, found := w.get(op.Key)
		ok = len(told.Entries) == 0 && !found || len(told.Entries) == 1 && found && told.Entries[0].is(e)
		w.upTo(told.Index)
	case List:
		ok = w.lists(op.Key, told.Entries)
		w.upTo(told.Index)
	case believe:
		ok = w.floor <= op.Index+1 && w.lists(op.Key, op.Entries)
		w.upTo(op.Index)
	case Put:
		w.set(op.Key, op.Value)
	case CAS:
		ok = fits(w.cas(op.Key, op.Value, op.Index))
	case Delete:
		w.remove(op.Key)
	case DeleteCAS:
		ok = fits(w.removeCAS(op.Key, op.Index))
	case DeleteTree:
		w.removeTree(op.Key)
	case Restore:
		w.values = nil
		for _, e := range op.Entries {
			if g.belongs(e.Key, g.name) {
				w.values = append(w.values, named{e.Key, e.Value})
			}
		}
		slices.SortFunc(w.values, func(a, b named) int { return strings.Compare(a.key, b.key) })
	case Txn:
		rows, worked := told.Entries, true
		for _, step := range op.Steps {
			if worked = w.step(step, &rows, sure && told.OK); !worked {
				break
			}
		}
		if !worked {
			return fits(false), before
		}
		ok = fits(true) && (!sure || len(rows) == 0)
		w.upTo(told.Index)
	}
	if !op.reads() { // only now: all writes of a transaction have one index
		w.upTo(w.index)
	}
	return ok && !w.wrong, &w.keysState
}

// upTo notes that everything up to an index has been.
func (w *keysWriter) upTo(index uint64) {
	if index > 0 {
		w.floor = max(w.floor, index+1)
	}
}

// keysWriter changes a state that is its own.
type keysWriter struct {
	*facts
	keysState
	index uint64 // of what it writes; 0: nobody has seen it
	wrong bool   // it came at a time that its index does not allow, or read something else
}

func (w *keysWriter) get(key string) (named, bool) {
	if i, found := w.find(key); found {
		return w.values[i], true
	}
	return named{}, false
}

func (e *Entry) is(n named) bool { return e.Key == n.key && e.Value == n.value }

func (w *keysWriter) lists(prefix string, entries []Entry) bool {
	for _, n := range w.values {
		if !strings.HasPrefix(n.key, prefix) {
			continue
		}
		if len(entries) == 0 || !entries[0].is(n) {
			return false
		}
		entries = entries[1:]
	}
	return len(entries) == 0
}

func (w *keysWriter) set(key, value string) {
	if w.index > 0 {
		w.wrong = w.wrong || w.index < w.floor
	}
	n := named{key, value}
	if i, found := w.find(key); found {
		w.values[i] = n
	} else {
		w.values = slices.Insert(w.values, i, n)
	}
}

// at reports whether the key has this ModifyIndex; 0 means that there is none. A
// value that nobody has seen has an index that nobody can know.
func (w *keysWriter) at(key string, index uint64) bool {
	n, found := w.get(key)
	if !found || index == 0 {
		return !found && index == 0
	}
	return w.seen[n].index == index
}

func (w *keysWriter) cas(key, value string, index uint64) bool {
	if !w.at(key, index) {
		return false
	}
	w.set(key, value)
	return true
}

func (w *keysWriter) remove(key string) {
	if i, found := w.find(key); found {
		w.values = slices.Delete(w.values, i, i+1)
	}
}

// removeCAS calls the delete of a key that is not there a success.
func (w *keysWriter) removeCAS(key string, index uint64) bool {
	if _, found := w.find(key); found && !w.at(key, index) {
		return false
	}
	w.remove(key)
	return true
}

func (w *keysWriter) removeTree(prefix string) {
	w.values = slices.DeleteFunc(w.values, func(n named) bool { return strings.HasPrefix(n.key, prefix) })
}

// step runs one operation of a transaction and takes its rows off those that
// were told, if they were. It returns whether it can be done.
func (w *keysWriter) step(s Step, rows *[]Entry, told bool) bool {
	next := func(value string, whole bool) bool {
		if !told {
			return true
		}
		if len(*rows) == 0 {
			w.wrong = true
			return true
		}
		row := (*rows)[0]
		*rows = (*rows)[1:]
		w.wrong = w.wrong || row.Key != s.Key || whole && row.Value != value
		return true
	}
	n, found := w.get(s.Key)
	switch s.Verb {
	case structs.KVSet:
		w.set(s.Key, s.Value)
		return next(s.Value, false)
	case structs.KVCAS:
		return w.cas(s.Key, s.Value, s.Index) && next(s.Value, false)
	case structs.KVDelete:
		w.remove(s.Key)
	case structs.KVDeleteCAS:
		return w.removeCAS(s.Key, s.Index)
	case structs.KVDeleteTree:
		w.removeTree(s.Key)
	case structs.KVGet:
		return found && next(n.value, true)
	case structs.KVGetOrEmpty:
		return next(n.value, true)
	case structs.KVCheckIndex:
		return found && w.at(s.Key, s.Index) && next("", false)
	case structs.KVCheckNotExists:
		return !found
	case structs.KVGetTree:
		prefix := s.Key
		for _, n := range w.values {
			if strings.HasPrefix(n.key, prefix) {
				s.Key = n.key
				next(n.value, true)
			}
		}
	}
	return true
}

// String is the state as people read it.
func (s *keysState) String() string {
	var texts []string
	for _, n := range s.values {
		texts = append(texts, n.key+"="+n.value)
	}
	return strings.Join(texts, ", ")
}

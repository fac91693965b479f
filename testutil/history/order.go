package history

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// checkOrder holds the raft indexes of writes against the clients' clocks: what
// was acknowledged before another write began has a lower index, whatever the
// keys are. It is what the promises about stale reads and feeds are made of.
func (f *facts) checkOrder() (violations []Violation) {
	type write struct {
		*Call
		index uint64
	}
	var begun, ended []write
	for _, c := range f.calls {
		if index := f.indexOf(&c.op); index > 0 {
			begun = append(begun, write{c, index})
			if c.outcome == done {
				ended = append(ended, write{c, index})
			}
		}
	}
	slices.SortFunc(begun, func(a, b write) int { return cmp.Compare(a.call, b.call) })
	slices.SortFunc(ended, func(a, b write) int { return cmp.Compare(a.ret, b.ret) })
	var highest write
	for _, w := range begun {
		for len(ended) > 0 && ended[0].ret < w.call {
			if ended[0].index > highest.index {
				highest = ended[0]
			}
			ended = ended[1:]
		}
		if highest.Call != nil && w.index <= highest.index {
			violations = append(violations, Violation{Check: "order", calls: []*Call{highest.Call, w.Call},
				What: fmt.Sprintf("a write has index %d, one that began after its end %d", highest.index, w.index)})
		}
	}
	return violations
}

// checkServers sees to it that a server does not go back in time while its
// process lives: a stale read shows all that an earlier one has shown.
func (f *facts) checkServers() (violations []Violation) {
	type process struct {
		server string
		life   uint64
	}
	indexes := f.writesOf()
	reads := map[process][]*Call{}
	var order []process
	for _, c := range f.calls {
		if c.op.Kind == Get && c.op.Read == Stale && c.outcome == done && c.op.Life != 0 && f.locks[c.op.Key] == "" {
			p := process{c.op.Server, c.op.Life}
			if reads[p] == nil {
				order = append(order, p)
			}
			reads[p] = append(reads[p], c)
		}
	}
	for _, p := range order {
		ended := slices.Clone(reads[p])
		slices.SortFunc(ended, func(a, b *Call) int { return cmp.Compare(a.ret, b.ret) })
		highest := map[string]*Call{} // by epoch
		ofKeys := map[string]uint64{} // the same of keys alone: the index of all keys knows nothing of services
		for _, c := range reads[p] {
			for len(ended) > 0 && ended[0].ret < c.call {
				e := ended[0]
				if h := highest[e.result.Epoch]; h == nil || h.result.Index < e.result.Index {
					highest[e.result.Epoch] = e
				}
				if !e.op.Service {
					ofKeys[e.result.Epoch] = max(ofKeys[e.result.Epoch], e.result.Index)
				}
				ended = ended[1:]
			}
			before := highest[c.result.Epoch]
			if before == nil {
				continue
			}
			// What this read shows was true until the next write of its key.
			next, known := after(indexes[c.op.Key], c.result.Index)
			late := known && next <= before.result.Index
			if len(c.result.Entries) == 0 {
				late = !c.op.Service && c.result.Index < ofKeys[c.result.Epoch] // for a missing key, the index of all keys
			}
			if late {
				violations = append(violations, Violation{Check: "stale reads", calls: []*Call{before, c},
					What: fmt.Sprintf("%s had shown index %d, then showed %s at %d without the write at %d", p.server, before.result.Index, c.op.Key, c.result.Index, next)})
			}
		}
	}
	return violations
}

// writesOf are the known indexes at which each key was written, in order.
func (f *facts) writesOf() map[string][]uint64 {
	all := map[string][]uint64{}
	for n, s := range f.seen {
		all[n.key] = append(all[n.key], s.index)
	}
	for key := range all {
		slices.Sort(all[key])
	}
	return all
}

func after(indexes []uint64, index uint64) (uint64, bool) {
	i, found := slices.BinarySearch(indexes, index)
	if found {
		i++
	}
	if i == len(indexes) {
		return 0, false
	}
	return indexes[i], true
}

// begunBy is the last event at which a write began that has this raft index or
// a lower one: what shows the state at the index was not earlier. -1 if there
// is no such write.
func (f *facts) begunBy(index uint64) int64 {
	if f.begun == nil {
		f.begun = []beginning{{0, -1}}
		for _, c := range f.calls {
			if at := f.indexOf(&c.op); at > 0 {
				f.begun = append(f.begun, beginning{at, c.call})
			}
		}
		slices.SortFunc(f.begun, func(a, b beginning) int { return cmp.Compare(a.index, b.index) })
		for i := range f.begun[1:] {
			f.begun[i+1].call = max(f.begun[i+1].call, f.begun[i].call)
		}
	}
	i := sort.Search(len(f.begun), func(i int) bool { return f.begun[i].index > index })
	return f.begun[i-1].call
}

// beginning says that all writes up to an index had begun at an event.
type beginning struct {
	index uint64
	call  int64
}

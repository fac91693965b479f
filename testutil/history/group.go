package history

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// group is the keys that some calls have named together.
type group struct {
	*facts
	name    string
	strict  []interval // writes and consistent reads
	relaxed []*Call    // default and stale reads, and what followers believe
}

func (g *group) model() porcupine.Model {
	return porcupine.Model{
		Init:  func() any { return &keysState{} },
		Step:  func(state, input, _ any) (bool, any) { return g.step(state.(*keysState), input.(*Call)) },
		Equal: equalKeys, Hash: hashKeys,
		DescribeOperation: func(input, _ any) string { return input.(*Call).String() },
		DescribeState:     func(state any) string { return state.(*keysState).String() },
	}
}

// keyGroups are the groups of all keys that are no locks, and guarded by none.
func (f *facts) keyGroups() []*group {
	groups := map[string]*group{}
	at := func(key string) *group {
		name := f.groups.find(key)
		if groups[name] == nil {
			groups[name] = &group{facts: f, name: name}
		}
		return groups[name]
	}
	var restores []*Call
	for _, c := range f.calls {
		key := c.op.Key
		switch {
		case c.op.Kind == Restore:
			restores = append(restores, c)
			continue
		case len(c.op.Steps) > 0:
			key = c.op.Steps[0].Key
		case c.op.Kind == List || c.op.Kind == DeleteTree:
			key = f.under(key)
		}
		if key == "" || f.locks[key] != "" || c.op.reads() && c.outcome != done {
			continue
		}
		g := at(key)
		if c.op.reads() && c.op.Read != Consistent && c.op.Read != "" {
			g.relaxed = append(g.relaxed, c)
		} else {
			g.strict = append(g.strict, strict(c))
		}
	}
	var all []*group
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		for _, c := range restores {
			g.strict = append(g.strict, strict(c))
		}
		g.relaxed = append(g.relaxed, f.beliefs(name)...)
		all = append(all, g)
	}
	return all
}

// beliefs are what followers took for the state of a group, as stale reads.
func (f *facts) beliefs(group string) (calls []*Call) {
	for _, v := range f.views {
		if !strings.HasPrefix(group, v.feed.prefix) {
			continue
		}
		op := Op{Kind: believe, Key: v.feed.prefix, Index: v.index, Server: v.feed.name}
		for _, e := range v.entries {
			if f.belongs(e.Key, group) {
				op.Entries = append(op.Entries, e)
			}
		}
		calls = append(calls, &Call{rec: f.history, client: -1, op: op, outcome: done, call: v.at, ret: v.at, feed: v.feed})
	}
	return calls
}

// belongs reports whether a key is asked about with a group. Locks, and what
// they guard, have a model of their own.
func (f *facts) belongs(key, group string) bool {
	return f.groups.find(key) == group && f.locks[key] == ""
}

// under is a key below a prefix: all of them are in one group. Where there is
// none it is the prefix.
func (f *facts) under(prefix string) string {
	names := f.groups.names()
	if i := sort.SearchStrings(names, prefix); i < len(names) && len(names[i]) >= len(prefix) && names[i][:len(prefix)] == prefix {
		return names[i]
	}
	return prefix
}

// check looks for an order of the writes and consistent reads of a group, then
// for a place in one for each other read by itself. A default read may have
// been answered from what was true up to a lease before it began, a stale one
// from anything that was ever true; but the index that it came with says what had
// happened by then.
func (g *group) check(lease time.Duration) []Violation {
	model := g.model()
	if v := g.ask("linearizable", model, g.strict); v != nil {
		return []Violation{*v}
	}
	var violations []Violation
	for _, c := range g.relaxed {
		check, from := "stale reads", int64(-1)
		switch {
		case c.op.Read == Default:
			check, from = "default reads", min(g.history.since(c.call, lease), c.call)
		case c.op.Kind == believe:
			check = "feeds"
		}
		from = max(from, g.begunBy(max(c.result.Index, c.op.Index)))
		if from > c.ret {
			violations = append(violations, Violation{Check: check, What: "a read shows an index before the write of that index, or of a lower one, began", calls: []*Call{c}})
			continue
		}
		if v := g.ask(check, model, append(slices.Clone(g.strict), interval{c, from, c.ret})); v != nil {
			violations = append(violations, *v)
		}
	}
	return violations
}

// ask decides, and describes what it finds.
func (f *facts) ask(check string, model porcupine.Model, calls []interval) *Violation {
	switch verdict, _ := decide(model, calls, budget); verdict {
	case legal:
		return nil
	case undecided:
		return &Violation{Check: check, What: "not decided within the budget: the workload makes too many open calls of one key", undecided: true}
	}
	least := shrink(model, calls)
	v := &Violation{Check: check, What: "no order of these calls explains what was told", model: &model, all: calls}
	for _, c := range least {
		v.calls = append(v.calls, c.Call)
	}
	return v
}

// since is the first event that was not earlier than d before another.
func (r *Recorder) since(event int64, d time.Duration) int64 {
	from := r.times[event].Add(-d)
	return int64(sort.Search(len(r.times), func(i int) bool { return !r.times[i].Before(from) }))
}

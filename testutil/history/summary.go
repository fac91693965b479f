package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Count says how calls of one kind ended.
type Count struct {
	OK, Refused int // as they were told; reads are OK if they found something
	Open        int // nobody knows
	Failed      int // nothing was done
}

// Counts are the counts of each kind of call, as in "put" and "get stale".
func (r *Recorder) Counts() map[string]Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]Count{}
	for _, c := range r.calls {
		name := string(c.op.Kind)
		if c.op.Read != "" {
			name += " " + string(c.op.Read)
		}
		if c.op.After > 0 {
			name += " waiting"
		}
		n := counts[name]
		switch {
		case c.outcome == open:
			n.Open++
		case c.outcome == failed:
			n.Failed++
		case c.conditional() && !c.result.OK, c.op.reads() && c.op.Kind != Renew && len(c.result.Entries) == 0, c.op.Kind == Renew && !c.result.OK:
			n.Refused++
		default:
			n.OK++
		}
		counts[name] = n
	}
	for _, f := range r.feeds {
		for i := range f.events {
			n := counts["feed "+string(f.events[i].kind)]
			n.OK++
			counts["feed "+string(f.events[i].kind)] = n
		}
	}
	return counts
}

// Summary says in a few lines what the history is made of.
func (r *Recorder) Summary() string {
	counts := r.Counts()
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s %6s %6s %6s %6s\n", "", "ok", "not", "open", "failed")
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		n := counts[name]
		fmt.Fprintf(&b, "%-26s %6d %6d %6d %6d\n", name, n.OK, n.Refused, n.Open, n.Failed)
	}
	return b.String()
}

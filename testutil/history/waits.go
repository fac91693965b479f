package history

import (
	"fmt"
	"time"
)

// checkClients sees to it that the index which a client is told of one key or
// prefix does not go back while the epoch is the same: with consistent reads
// never, with default ones by no more than the lease allows, with stale ones
// not as long as the same process answers.
func (f *facts) checkClients(lease time.Duration) (violations []Violation) {
	type question struct {
		client     int
		kind       Kind
		key, epoch string
		server     string // for stale reads
		life       uint64
	}
	last := map[question]*Call{}
	for _, c := range f.calls {
		if c.op.Kind != Get && c.op.Kind != List || c.outcome != done || c.result.Index == 0 {
			continue
		}
		q := question{client: c.client, kind: c.op.Kind, key: c.op.Key, epoch: c.result.Epoch}
		if c.op.Read == Stale {
			if c.op.Life == 0 {
				continue
			}
			q.server, q.life = c.op.Server, c.op.Life
		}
		before := last[q]
		excused := before != nil && c.op.Read == Default && before.ret >= f.history.since(c.call, lease)
		if before != nil && before.ret < c.call && before.result.Index > c.result.Index && !excused {
			violations = append(violations, Violation{Check: "client index", calls: []*Call{before, c},
				What: fmt.Sprintf("client %d was told index %d, then %d", c.client, before.result.Index, c.result.Index)})
		}
		if before == nil || before.result.Index <= c.result.Index {
			last[q] = c
		}
	}
	return violations
}

// checkWaits finds blocked queries that slept through a change: one that was
// acknowledged while they waited, so long before they answered that they must
// have seen it.
func (f *facts) checkWaits(within time.Duration) (violations []Violation) {
	if within == 0 {
		return nil
	}
	writes := map[string][]*Call{}
	for _, c := range f.calls {
		if c.outcome == done && f.indexOf(&c.op) > 0 {
			for n := range c.op.written {
				writes[n.key] = append(writes[n.key], c)
			}
		}
	}
	for _, c := range f.calls {
		if c.op.Kind != Get || c.op.After == 0 || c.outcome != done {
			continue
		}
		answered := f.history.times[c.ret]
		for _, w := range writes[c.op.Key] {
			index := f.indexOf(&w.op)
			if index <= c.op.After || w.ret > c.ret {
				continue
			}
			began := f.history.times[max(w.ret, c.call)]
			if late := answered.Sub(began); late > within {
				violations = append(violations, Violation{Check: "blocking queries", calls: []*Call{w, c},
					What: fmt.Sprintf("a query that waited for more than %d answered %v after the write at %d was acknowledged", c.op.After, late, index)})
				break
			}
		}
	}
	return violations
}

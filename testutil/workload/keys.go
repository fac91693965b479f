package workload

import (
	"context"
	"math/rand/v2"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil/history"
)

// register does something with a single key.
func (w *worker) register(ctx context.Context) {
	slot := w.rng.IntN(w.Slots)
	key := w.registers.use(slot)
	switch n := w.rng.IntN(100); {
	case n < 45:
		w.get(ctx, key, w.kind(), 0)
	case n < 65:
		w.write(ctx, history.Op{Kind: history.Put, Key: key, Value: w.value()}, w.registers, slot)
	case n < 85:
		w.write(ctx, history.Op{Kind: history.CAS, Key: key, Value: w.value(), Index: w.seen[key]}, w.registers, slot)
	case n < 92:
		w.write(ctx, history.Op{Kind: history.DeleteCAS, Key: key, Index: w.seen[key]}, w.registers, slot)
	default:
		w.write(ctx, history.Op{Kind: history.Delete, Key: key}, w.registers, slot)
	}
}

// kind picks how a read is to be answered.
func (w *worker) kind() history.Read {
	return pick(w.rng, history.Consistent, history.Consistent, history.Default, history.Default, history.Stale)
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// wait blocks on a single key until it changes.
func (w *worker) wait(ctx context.Context) {
	key := w.registers.use(w.rng.IntN(w.Slots))
	kind := w.kind()
	after := w.index[key]
	if after == 0 {
		result, ok := w.get(ctx, key, kind, 0)
		if !ok {
			return
		}
		after = result.Index
	}
	w.get(ctx, key, kind, after)
}

func (w *worker) get(ctx context.Context, key string, kind history.Read, after uint64) (history.Result, bool) {
	op := history.Op{Kind: history.Get, Key: key, Read: kind, After: after}
	result, ok := w.ask(ctx, op, nil, 0, func(ctx context.Context, c *client.Client) (history.Result, error) {
		q := w.options(kind, after)
		entry, meta, err := c.KV().Get(ctx, key, &q)
		result := history.Result{Index: meta.Index, Epoch: meta.Epoch}
		if entry != nil {
			result.Entries = []history.Entry{history.EntryOf(entry)}
		}
		return result, err
	})
	if ok {
		w.index[key] = result.Index
		w.remember(key, result.Entries)
	}
	return result, ok
}

func (w *worker) options(kind history.Read, after uint64) structs.QueryOptions {
	q := structs.QueryOptions{AllowStale: kind == history.Stale, RequireConsistent: kind == history.Consistent}
	if after > 0 {
		q.MinQueryIndex, q.MaxQueryTime = after, w.Wait
	}
	return q
}

// remember notes the index of a key for the compare-and-set to come.
func (w *worker) remember(key string, entries []history.Entry) {
	delete(w.seen, key)
	for _, e := range entries {
		w.seen[e.Key] = e.ModifyIndex
	}
}

// kvOps are the operations that the kinds of writes stand for.
var kvOps = map[history.Kind]structs.KVOp{
	history.Put: structs.KVSet, history.CAS: structs.KVCAS, history.Delete: structs.KVDelete,
	history.DeleteCAS: structs.KVDeleteCAS, history.DeleteTree: structs.KVDeleteTree,
}

func (w *worker) write(ctx context.Context, op history.Op, in *slots, slot int) (history.Result, bool) {
	return w.ask(ctx, op, in, slot, func(ctx context.Context, c *client.Client) (history.Result, error) {
		entry := structs.DirEntry{Key: op.Key, RaftIndex: structs.RaftIndex{ModifyIndex: op.Index}}
		if op.Value != "" {
			entry.Value = []byte(op.Value)
		}
		ok, err := c.KV().Apply(ctx, kvOps[op.Kind], entry)
		return history.Result{OK: ok}, err
	})
}

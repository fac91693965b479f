package workload

import (
	"context"
	"fmt"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil/history"
)

// members is how many keys a group has.
const members = 4

// group does something with the keys under one prefix.
func (w *worker) group(ctx context.Context) {
	slot := w.rng.IntN(w.Slots)
	prefix := w.groups.use(slot) + "/"
	key := w.member(prefix)
	switch n := w.rng.IntN(100); {
	case n < 35:
		w.list(ctx, prefix)
	case n < 75:
		w.txn(ctx, prefix, slot)
	case n < 88:
		w.write(ctx, history.Op{Kind: history.Put, Key: key, Value: w.value()}, w.groups, slot)
	case n < 96:
		w.write(ctx, history.Op{Kind: history.Delete, Key: key}, w.groups, slot)
	default:
		w.write(ctx, history.Op{Kind: history.DeleteTree, Key: prefix}, w.groups, slot)
	}
}

func (w *worker) member(prefix string) string { return fmt.Sprint(prefix, w.rng.IntN(members)) }

func (w *worker) list(ctx context.Context, prefix string) {
	op := history.Op{Kind: history.List, Key: prefix, Read: w.kind()}
	result, ok := w.ask(ctx, op, nil, 0, func(ctx context.Context, c *client.Client) (history.Result, error) {
		q := w.options(op.Read, 0)
		rows, meta, err := c.KV().List(ctx, prefix, &q)
		return history.Result{Entries: history.EntriesOf(rows), Index: meta.Index, Epoch: meta.Epoch}, err
	})
	if !ok {
		return
	}
	for i := range members {
		delete(w.seen, fmt.Sprint(prefix, i))
	}
	w.remember("", result.Entries)
}

// txn runs a transaction over some keys of a group.
func (w *worker) txn(ctx context.Context, prefix string, slot int) {
	op := history.Op{Kind: history.Txn}
	if w.rng.IntN(4) == 0 {
		op.Read = w.kind()
		for range 2 + w.rng.IntN(2) {
			op.Steps = append(op.Steps, history.Step{Verb: structs.KVGetOrEmpty, Key: w.member(prefix)})
		}
		op.Steps = append(op.Steps, history.Step{Verb: structs.KVGetTree, Key: prefix})
	} else {
		for range 2 + w.rng.IntN(3) {
			op.Steps = append(op.Steps, w.step(prefix))
		}
		if w.rng.IntN(4) == 0 {
			op.Steps = append(op.Steps, history.Step{Verb: structs.KVGetTree, Key: prefix})
		}
	}
	result, ok := w.ask(ctx, op, w.groups, slot, func(ctx context.Context, c *client.Client) (history.Result, error) {
		return txn(ctx, c, &op, w.options(op.Read, 0))
	})
	if ok && result.OK {
		w.remember("", result.Entries)
	}
}

// step is one operation on a key of a group.
func (w *worker) step(prefix string) history.Step {
	key := w.member(prefix)
	verb := pick(w.rng, structs.KVSet, structs.KVSet, structs.KVSet, structs.KVCAS, structs.KVCAS, structs.KVDelete, structs.KVDeleteCAS,
		structs.KVGet, structs.KVGetOrEmpty, structs.KVGetOrEmpty, structs.KVCheckIndex, structs.KVCheckNotExists)
	s := history.Step{Verb: verb, Key: key}
	switch verb {
	case structs.KVSet:
		s.Value = w.value()
	case structs.KVCAS:
		s.Value, s.Index = w.value(), w.seen[key]
	case structs.KVDeleteCAS, structs.KVCheckIndex:
		s.Index = w.seen[key]
	}
	return s
}

func txn(ctx context.Context, c *client.Client, op *history.Op, q structs.QueryOptions) (history.Result, error) {
	ops := make([]structs.TxnOp, len(op.Steps))
	for i, s := range op.Steps {
		entry := structs.DirEntry{Key: s.Key, RaftIndex: structs.RaftIndex{ModifyIndex: s.Index}}
		if s.Value != "" {
			entry.Value = []byte(s.Value)
		}
		ops[i].KV = &structs.TxnKVOp{Verb: s.Verb, DirEnt: entry}
	}
	var reply structs.TxnResponse
	var meta structs.QueryMeta
	if op.Read == "" {
		got, err := c.Txn().Apply(ctx, ops...)
		if err != nil {
			return history.Result{}, err
		}
		reply = got
	} else {
		got, err := c.Txn().Read(ctx, &q, ops...)
		if err != nil {
			return history.Result{}, err
		}
		reply, meta = got.TxnResponse, got.QueryMeta
	}
	result := history.Result{OK: len(reply.Errors) == 0, Index: meta.Index, Epoch: meta.Epoch}
	for _, row := range reply.Results {
		result.Entries = append(result.Entries, history.EntryOf(row.KV))
	}
	return result, nil
}

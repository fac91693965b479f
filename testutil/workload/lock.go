package workload

import (
	"context"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil/history"
)

// holder is what a client knows of the lock that it uses.
type holder struct {
	session string
	slot    int
	key     string
	fence   uint64 // LockIndex of the lock; 0: not held
}

// sessionTTL is short, so that a client which is kept from its servers loses its
// locks while the workload runs.
const sessionTTL = 2 * time.Second

// lock takes the next step with a lock: get one, write under it, give it back,
// or lose it.
func (w *worker) lock(ctx context.Context) {
	h := &w.holder
	switch {
	case h.session == "":
		w.newSession(ctx)
	case h.fence == 0:
		h.slot = w.rng.IntN(w.Slots)
		h.key = w.locks.use(h.slot)
		w.acquire(ctx)
	default:
		w.locks.use(h.slot)
		w.useLock(ctx)
	}
}

// newSession makes a session. One whose creation is unclear is nobody's.
func (w *worker) newSession(ctx context.Context) {
	w.ask(ctx, history.Op{Kind: history.Create}, nil, 0, func(ctx context.Context, c *client.Client) (history.Result, error) {
		id, err := c.Session().Create(ctx, structs.Session{
			Node: w.Servers[w.rng.IntN(len(w.Servers))].Name, TTL: sessionTTL.String(), Expiry: structs.ExpiryExact,
			LockDelay: pick(w.rng, 0, 0, time.Second),
		})
		if structs.IsCode(err, structs.Invalid) {
			err = nil // the node has left the cluster
		}
		w.holder = holder{session: id}
		return history.Result{}, err
	})
}

func (w *worker) acquire(ctx context.Context) {
	h := &w.holder
	result, ok := w.ask(ctx, history.Op{Kind: history.Acquire, Key: h.key, Session: h.session, Data: data(h.key)}, w.locks, h.slot,
		func(ctx context.Context, c *client.Client) (history.Result, error) {
			ok, err := c.KV().Acquire(ctx, h.key, []byte(w.value()), h.session)
			if structs.IsCode(err, structs.Invalid) {
				return history.Result{NoSession: true}, nil
			}
			return history.Result{OK: ok}, err
		})
	switch {
	case !ok || result.NoSession:
		*h = holder{}
	case result.OK:
		w.learnFence(ctx)
	}
}

// learnFence reads under which index the lock is held.
func (w *worker) learnFence(ctx context.Context) {
	h := &w.holder
	if result, ok := w.get(ctx, h.key, history.Consistent, 0); ok && len(result.Entries) == 1 && result.Entries[0].Session == h.session {
		h.fence = result.Entries[0].LockIndex
	}
}

func (w *worker) useLock(ctx context.Context) {
	h := &w.holder
	switch n := w.rng.IntN(100); {
	case n < 35:
		w.fencedPut(ctx)
	case n < 48:
		w.get(ctx, data(h.key), history.Consistent, 0)
	case n < 60:
		w.renew(ctx)
	case n < 88:
		w.ask(ctx, history.Op{Kind: history.Release, Key: h.key, Session: h.session, Data: data(h.key)}, w.locks, h.slot,
			func(ctx context.Context, c *client.Client) (history.Result, error) {
				ok, err := c.KV().Release(ctx, h.key, []byte(w.value()), h.session)
				return history.Result{OK: ok}, err
			})
		if w.rng.IntN(2) == 0 {
			h.fence = 0
		} // else it goes on as if nothing had happened: the fence must keep it out
	default:
		w.ask(ctx, history.Op{Kind: history.Destroy, Session: h.session}, w.locks, h.slot,
			func(ctx context.Context, c *client.Client) (history.Result, error) {
				return history.Result{}, c.Session().Destroy(ctx, h.session)
			})
	}
}

// fencedPut writes what the lock guards, by itself or in a transaction. Who is
// kept out gives the lock up.
func (w *worker) fencedPut(ctx context.Context) {
	h := &w.holder
	op := history.Op{Kind: history.FencedPut, Key: h.key, Data: data(h.key), LockIndex: h.fence, Value: w.value()}
	result, ok := w.ask(ctx, op, w.locks, h.slot, func(ctx context.Context, c *client.Client) (history.Result, error) {
		if w.rng.IntN(2) == 0 {
			err := c.KV().Fenced(structs.Fence{Key: op.Key, LockIndex: op.LockIndex}).Put(ctx, op.Data, []byte(op.Value))
			if structs.IsCode(err, structs.Fenced) {
				return history.Result{}, nil
			}
			return history.Result{OK: true}, err
		}
		reply, err := c.Txn().Apply(ctx,
			structs.TxnOp{KV: &structs.TxnKVOp{Verb: structs.KVCheckFence, DirEnt: structs.DirEntry{Key: op.Key, LockIndex: op.LockIndex}}},
			structs.TxnOp{KV: &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: structs.DirEntry{Key: op.Data, Value: []byte(op.Value)}}})
		return history.Result{OK: len(reply.Errors) == 0}, err
	})
	if ok && !result.OK {
		*h = holder{}
	}
}

func (w *worker) renew(ctx context.Context) {
	h := &w.holder
	w.ask(ctx, history.Op{Kind: history.Renew, Session: h.session}, nil, 0, func(ctx context.Context, c *client.Client) (history.Result, error) {
		session, err := c.Session().Renew(ctx, h.session)
		return history.Result{OK: session != nil}, err
	})
}

// data is the key that a lock guards.
func data(lock string) string { return lock + "/data" }

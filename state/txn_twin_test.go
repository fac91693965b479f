package state_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"praetor/state"
	"praetor/structs"
)

// txn runs a transaction. What it returns may have changed, and is the twin to
// go on with; a twin that failed is thrown away.
func (m *twin) txn(index uint64, ops []structs.TxnOp) (*twin, structs.TxnResponse) {
	after := m.clone()
	reply := structs.TxnResponse{Results: []structs.TxnResult{}}
	for i := range ops {
		rows, failure := after.op(index, &ops[i])
		if failure != "" {
			reply.Errors = append(reply.Errors, structs.TxnError{OpIndex: i, What: failure})
		}
		for _, row := range rows {
			reply.Results = append(reply.Results, structs.TxnResult{KV: &row})
		}
	}
	if reply.Errors != nil {
		return m, structs.TxnResponse{Errors: reply.Errors}
	}
	return after, reply
}

// op runs one operation.
func (m *twin) op(index uint64, op *structs.TxnOp) (rows []structs.DirEntry, failure string) {
	if op.Session != nil {
		m.destroy(index, op.Session.Session.ID)
		return nil, ""
	}
	if op.KV == nil {
		return nil, ""
	}
	e, old, exists := op.KV.DirEnt, m.keys[op.KV.DirEnt.Key], false
	_, exists = m.keys[e.Key]
	row := func() []structs.DirEntry {
		row := m.keys[e.Key]
		row.Value = nil
		return []structs.DirEntry{row}
	}
	unless := func(ok bool, failure string, args ...any) ([]structs.DirEntry, string) {
		if !ok {
			return nil, fmt.Sprintf(failure, args...)
		}
		return row(), ""
	}
	switch verb := op.KV.Verb; verb {
	case structs.KVGet:
		if !exists {
			return nil, fmt.Sprintf("key %q doesn't exist", e.Key)
		}
		return []structs.DirEntry{old}, ""
	case structs.KVGetOrEmpty:
		old.Key = e.Key
		return []structs.DirEntry{old}, ""
	case structs.KVGetTree:
		rows, _ = m.list(e.Key)
		return rows, ""
	case structs.KVCheckNotExists:
		_, failure = unless(!exists, "key %q exists", e.Key)
		return nil, failure
	case structs.KVCheckIndex:
		if !exists {
			return nil, fmt.Sprintf("failed to check index, key %q doesn't exist", e.Key)
		}
		return unless(old.ModifyIndex == e.ModifyIndex, "failed index check for key %q, current modify index %d != %d", e.Key, old.ModifyIndex, e.ModifyIndex)
	case structs.KVCheckSession:
		if !exists {
			return nil, fmt.Sprintf("failed to check session, key %q doesn't exist", e.Key)
		}
		return unless(old.Session == e.Session, "failed session check for key %q, current session %q != %q", e.Key, old.Session, e.Session)
	case structs.KVCheckFence:
		if old.Session == "" {
			return nil, fmt.Sprintf("fenced: the lock on key %q is not held", e.Key)
		}
		return unless(old.LockIndex == e.LockIndex, "fenced: the lock on key %q is held under index %d, not %d", e.Key, old.LockIndex, e.LockIndex)
	case structs.KVLock, structs.KVUnlock, structs.KVCAS, structs.KVDeleteCAS, structs.KVSet, structs.KVDelete, structs.KVDeleteTree:
		delayed := m.memory(e.Key).LockDelayIndex > e.LockDelayIndex
		done, failure := m.kv(index, structs.KVSRequest{Op: verb, DirEnt: e})
		switch {
		case failure == "invalid session":
			return nil, fmt.Sprintf("invalid session %q", e.Session)
		case failure != "":
			return nil, failure
		case verb == structs.KVDeleteCAS:
			_, failure = unless(done, "failed to delete key %q, index is stale", e.Key)
			return nil, failure
		case verb == structs.KVDelete || verb == structs.KVDeleteTree:
			return nil, ""
		case verb == structs.KVCAS:
			return unless(done, "failed to set key %q, index is stale", e.Key)
		case verb == structs.KVUnlock:
			return unless(done, "failed to unlock key %q, lock isn't held, or is held by another session", e.Key)
		case verb == structs.KVLock && delayed:
			return nil, fmt.Sprintf("failed to lock key %q due to lock delay", e.Key)
		case verb == structs.KVLock:
			return unless(done, "failed to lock key %q, lock is already held", e.Key)
		}
		return row(), ""
	}
	return nil, fmt.Sprintf("unknown KV operation: %s", op.KV.Verb)
}

// txnVerbs has every verb about keys; those that fail now and then are rarer in
// it, so that whole transactions go well.
var txnVerbs = []structs.KVOp{
	structs.KVSet, structs.KVSet, structs.KVSet, structs.KVDelete, structs.KVDeleteTree, structs.KVLock, structs.KVLock, structs.KVLock,
	structs.KVCAS, structs.KVDeleteCAS, structs.KVUnlock, structs.KVGetOrEmpty, structs.KVGetOrEmpty, structs.KVGetTree,
	structs.KVGet, structs.KVCheckIndex, structs.KVCheckSession, structs.KVCheckNotExists, structs.KVCheckFence, "bogus",
}

// drawOp is a random operation that has a fair chance to go well.
func drawOp(t *rapid.T, m *twin, index uint64, keys *rapid.Generator[string]) structs.TxnOp {
	switch rapid.IntRange(0, 15).Draw(t, "kind") {
	case 0:
		return structs.TxnOp{}
	case 1:
		id := rapid.SampledFrom(sessionIDs).Draw(t, "session to delete")
		return structs.TxnOp{Session: &structs.TxnSessionOp{Verb: structs.TxnDelete, Session: structs.Session{ID: id}}}
	}
	e := structs.DirEntry{
		Key:     keys.Draw(t, "key"),
		Value:   []byte(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value")),
		Flags:   rapid.Uint64Range(0, 1).Draw(t, "flags"),
		TTL:     rapid.SampledFrom([]time.Duration{0, 0, time.Second, time.Minute}).Draw(t, "ttl"),
		Session: rapid.SampledFrom([]string{"s1", "s1", "s2", "none", ""}).Draw(t, "session"),
	}
	if rapid.IntRange(0, 3).Draw(t, "right index") > 0 {
		now := m.memory(e.Key)
		e.ModifyIndex, e.LockIndex, e.LockDelayIndex = now.ModifyIndex, now.LockIndex, now.LockDelayIndex
		if now.Session != "" {
			e.Session = now.Session
		}
	} else {
		e.ModifyIndex = rapid.Uint64Range(0, index).Draw(t, "index")
		e.LockIndex = rapid.Uint64Range(0, 2).Draw(t, "lock index")
		e.LockDelayIndex = rapid.Uint64Range(0, index).Draw(t, "lock delay index")
	}
	return kvOp(rapid.SampledFrom(txnVerbs).Draw(t, "verb"), e)
}

// Random transactions between random commands leave the store and its twin
// alike, and say the same of every row and of everything that failed. One that
// fails leaves no trace, wherever in it the failure is.
func TestTxnTwin(t *testing.T) {
	t.Parallel()
	whole, failed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.StringMatching(`[ab](/[ab]?){0,1}`)
		s, m := state.New(), newTwin()
		var index uint64
		for range rapid.IntRange(1, 12).Draw(t, "batches") {
			w := s.Write()
			for range rapid.IntRange(1, 5).Draw(t, "commands") {
				index++
				w.Begin(index)
				if rapid.Bool().Draw(t, "plain") {
					change(t, w, m, index, keys)
					continue
				}
				var ops []structs.TxnOp
				for range rapid.IntRange(0, 8).Draw(t, "ops") {
					ops = append(ops, drawOp(t, m, index, keys))
				}
				after, want := m.txn(index, ops)
				got, err := w.ApplyTxn(&structs.TxnRequest{Ops: ops})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("at %d (-twin +store):\n%s", index, diff)
				}
				if m = after; got.Errors == nil {
					whole++
				} else {
					failed++
				}
			}
			w.Commit()
			compare(t, s, m)
		}
	})
	t.Logf("%d transactions went through, %d failed", whole, failed)
	if whole == 0 || failed == 0 {
		t.Error("the random transactions are all of one kind")
	}
}

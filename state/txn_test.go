package state_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/state"
	"praetor/structs"
)

// kvOp is an operation of a transaction on a key.
func kvOp(verb structs.KVOp, entry structs.DirEntry) structs.TxnOp {
	return structs.TxnOp{KV: &structs.TxnKVOp{Verb: verb, DirEnt: entry}}
}

// txn applies a transaction at the next raft index.
func (d *db) txn(ops ...structs.TxnOp) structs.TxnResponse {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	reply, err := w.ApplyTxn(&structs.TxnRequest{Ops: ops})
	if err != nil {
		d.t.Fatal(err)
	}
	w.Commit()
	return reply
}

// everything is all rows of all tables, for comparing.
func (d *db) everything() string {
	text := ""
	for _, table := range state.Tables {
		text += table.Name() + "\n" + state.Dump(table, d.Read())
	}
	return text
}

// outcome says in one line what became of a transaction.
func outcome(reply structs.TxnResponse) string {
	text := ""
	for _, row := range reply.Results {
		switch {
		case row.KV != nil:
			text += fmt.Sprintf("%s=%s", row.KV.Key, row.KV.Value)
			if row.KV.Flags != 0 || row.KV.LockIndex != 0 || row.KV.Session != "" {
				text += fmt.Sprintf("(%d %d %s)", row.KV.Flags, row.KV.LockIndex, row.KV.Session)
			}
			text += fmt.Sprintf("@%d/%d ", row.KV.CreateIndex, row.KV.ModifyIndex)
		default:
			text += fmt.Sprintf("%+v ", row)
		}
	}
	for _, wrong := range reply.Errors {
		text += fmt.Sprintf("%d: %s ", wrong.OpIndex, wrong.What)
	}
	if (reply.Results == nil) != (reply.Errors != nil) {
		text += "neither results nor errors, or both "
	}
	if text == "" {
		return ""
	}
	return text[:len(text)-1]
}

// Every verb about keys with what it gives and what it says when it fails:
// consul-http.md 2.3. The keys k and k/2 are "v" and "w", written at 5 and 6;
// the transaction comes at 9.
func TestTxnKV(t *testing.T) {
	t.Parallel()
	at := func(key string, index uint64) structs.DirEntry {
		return structs.DirEntry{Key: key, Value: []byte("x"), RaftIndex: structs.RaftIndex{ModifyIndex: index}}
	}
	key := func(key string) structs.DirEntry { return structs.DirEntry{Key: key} }
	for _, test := range []struct {
		verb  structs.KVOp
		entry structs.DirEntry
		want  string
		keys  string // afterwards
	}{
		{structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("x"), Flags: 3}, "k=(3 0 )@5/9", "k k/2"},
		{structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("v")}, "k=@5/5", "k k/2"},
		{structs.KVSet, structs.DirEntry{Key: "new", Value: []byte("x")}, "new=@9/9", "k k/2 new"},
		{structs.KVCAS, at("k", 5), "k=@5/9", "k k/2"},
		{structs.KVCAS, at("k", 4), `0: failed to set key "k", index is stale`, "k k/2"},
		{structs.KVCAS, at("new", 0), "new=@9/9", "k k/2 new"},
		{structs.KVCAS, at("new", 7), `0: failed to set key "new", index is stale`, "k k/2"},
		{structs.KVDelete, key("k"), "", "k/2"},
		{structs.KVDelete, key("new"), "", "k k/2"},
		{structs.KVDeleteCAS, at("k", 5), "", "k/2"},
		{structs.KVDeleteCAS, at("k", 0), `0: failed to delete key "k", index is stale`, "k k/2"},
		{structs.KVDeleteCAS, at("new", 7), "", "k k/2"},
		{structs.KVDeleteTree, key("k"), "", ""},
		{structs.KVDeleteTree, key(""), "", ""},
		{structs.KVDeleteTree, key("x"), "", "k k/2"},
		{structs.KVGet, key("k"), "k=v@5/5", "k k/2"},
		{structs.KVGet, key("new"), `0: key "new" doesn't exist`, "k k/2"},
		{structs.KVGetOrEmpty, key("k"), "k=v@5/5", "k k/2"},
		{structs.KVGetOrEmpty, key("new"), "new=@0/0", "k k/2"},
		{structs.KVGetTree, key("k"), "k=v@5/5 k/2=w@6/6", "k k/2"},
		{structs.KVGetTree, key("x"), "", "k k/2"},
		{structs.KVCheckIndex, at("k", 5), "k=@5/5", "k k/2"},
		{structs.KVCheckIndex, at("k", 3), `0: failed index check for key "k", current modify index 5 != 3`, "k k/2"},
		{structs.KVCheckIndex, at("new", 0), `0: failed to check index, key "new" doesn't exist`, "k k/2"},
		{structs.KVCheckSession, key("k"), "k=@5/5", "k k/2"},
		{structs.KVCheckSession, structs.DirEntry{Key: "k", Session: "xx"}, `0: failed session check for key "k", current session "" != "xx"`, "k k/2"},
		{structs.KVCheckSession, key("new"), `0: failed to check session, key "new" doesn't exist`, "k k/2"},
		{structs.KVCheckNotExists, key("new"), "", "k k/2"},
		{structs.KVCheckNotExists, key("k"), `0: key "k" exists`, "k k/2"},
		{"bogus", key("k"), "0: unknown KV operation: bogus", "k k/2"},
		{structs.KVExpire, key("k"), "0: unknown KV operation: expire", "k k/2"},
	} {
		d := newDB(t)
		d.at(5).set("k", "v")
		d.set("k/2", "w")
		op := kvOp(test.verb, test.entry)
		if !op.Writes() {
			if got := outcome(d.Read().Txn([]structs.TxnOp{op})); got != test.want {
				t.Errorf("read %s %q: got %q, want %q", test.verb, test.entry.Key, got, test.want)
			}
		} else if got, want := outcome(d.Read().Txn([]structs.TxnOp{op})), "0: a transaction that only reads cannot do this: send it to Txn.Apply"; got != want {
			t.Errorf("read %s %q: got %q, want %q", test.verb, test.entry.Key, got, want)
		}
		if got := outcome(d.at(9).txn(op)); got != test.want {
			t.Errorf("%s %q: got %q, want %q", test.verb, test.entry.Key, got, test.want)
		}
		if keys, _ := d.list(""); keys != test.keys {
			t.Errorf("%s %q: left the keys %q, want %q", test.verb, test.entry.Key, keys, test.keys)
		}
	}
}

// Operations see what those before them did, and what one says is of its time.
func TestTxnSeesItself(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.set("k", "v")
	k := structs.DirEntry{Key: "k"}
	set := func(value string) structs.TxnOp { return kvOp(structs.KVSet, structs.DirEntry{Key: "k", Value: []byte(value)}) }
	got := outcome(d.at(9).txn(
		kvOp(structs.KVGet, k), set("w"), kvOp(structs.KVGet, k), set("x"), kvOp(structs.KVGet, k),
		kvOp(structs.KVDelete, k), kvOp(structs.KVCheckNotExists, k), kvOp(structs.KVGetTree, k), kvOp(structs.KVGetOrEmpty, k),
		set("y"), kvOp(structs.KVGetTree, k),
		structs.TxnOp{},
		kvOp(structs.KVCheckIndex, structs.DirEntry{Key: "k", RaftIndex: structs.RaftIndex{ModifyIndex: 9}}),
	))
	if want := "k=v@1/1 k=@1/9 k=w@1/9 k=@1/9 k=x@1/9 k=@0/0 k=@9/9 k=y@9/9 k=@9/9"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Whichever operation fails, all that fail are named and nothing is left of
// any: no row, no index, no tombstone.
func TestTxnAllOrNothing(t *testing.T) {
	t.Parallel()
	good := []structs.TxnOp{
		kvOp(structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("new")}),
		kvOp(structs.KVDelete, structs.DirEntry{Key: "a/1"}),
		kvOp(structs.KVSet, structs.DirEntry{Key: "a/1"}),
		kvOp(structs.KVDeleteTree, structs.DirEntry{Key: "a/"}),
		{},
		kvOp(structs.KVSet, structs.DirEntry{Key: "fresh"}),
		kvOp(structs.KVGetTree, structs.DirEntry{}),
	}
	bad := kvOp(structs.KVGet, structs.DirEntry{Key: "nope"})
	d := newDB(t)
	d.set("k", "v")
	d.set("a/1", "v")
	d.set("a/2", "v")
	d.set("gone", "v")
	d.delete("gone")
	before := d.everything()
	for i := range len(good) + 1 {
		ops := append(append(append([]structs.TxnOp{}, good[:i]...), bad), good[i:]...)
		want := structs.TxnResponse{Errors: []structs.TxnError{{OpIndex: i, What: `key "nope" doesn't exist`}}}
		if diff := cmp.Diff(want, d.txn(ops...)); diff != "" {
			t.Errorf("fails at %d (-want +got):\n%s", i, diff)
		}
		if diff := cmp.Diff(before, d.everything()); diff != "" {
			t.Errorf("fails at %d: left (-before +after):\n%s", i, diff)
		}
	}
	got := d.txn(bad, good[0], kvOp("bogus", structs.DirEntry{}), structs.TxnOp{}, kvOp(structs.KVCAS, structs.DirEntry{Key: "k"}))
	if got, want := outcome(got), `0: key "nope" doesn't exist 2: unknown KV operation: bogus 4: failed to set key "k", index is stale`; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if diff := cmp.Diff(before, d.everything()); diff != "" {
		t.Errorf("left (-before +after):\n%s", diff)
	}
	if reply := d.txn(good...); reply.Errors != nil || d.everything() == before {
		t.Errorf("without the bad one: got %+v, and it changed something: %v", reply, d.everything() != before)
	}
}

// What a transaction returns may be changed by whoever gets it.
func TestTxnResultsAreClones(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	reply := d.txn(
		kvOp(structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("v")}),
		kvOp(structs.KVGet, structs.DirEntry{Key: "k"}),
		kvOp(structs.KVGetTree, structs.DirEntry{Key: "k"}),
	)
	for _, row := range reply.Results {
		row.KV.Key, row.KV.Flags = "other", 7
	}
	if got, _ := d.get("k"); got == nil || got.Key != "k" || got.Flags != 0 || string(got.Value) != "v" {
		t.Errorf("got %+v, want the row as it was", got)
	}
}

// The index of a transaction that reads is the highest of what it read.
func TestTxnReadIndex(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.at(5).set("a", "1")
	d.at(7).set("b", "1")
	for want, names := range map[uint64][]string{5: {"a"}, 7: {"a", "b"}, 0: nil} {
		var ops []structs.TxnOp
		for _, name := range names {
			ops = append(ops, kvOp(structs.KVGet, structs.DirEntry{Key: name}))
		}
		r := d.Read()
		if r.Txn(ops); r.Index() != want {
			t.Errorf("%q: got index %d, want %d", names, r.Index(), want)
		}
	}
}

package state_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
		case row.Node != nil:
			text += fmt.Sprintf("node %s %s @%d/%d ", row.Node.Node, row.Node.Address, row.Node.CreateIndex, row.Node.ModifyIndex)
		case row.Service != nil:
			text += fmt.Sprintf("service %s %d @%d/%d ", row.Service.ID, row.Service.Port, row.Service.CreateIndex, row.Service.ModifyIndex)
		case row.Check != nil:
			text += fmt.Sprintf("check %s %s %s@%d/%d ", row.Check.CheckID, row.Check.Status, row.Check.Output, row.Check.CreateIndex, row.Check.ModifyIndex)
		default:
			text += "nothing "
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
	set := func(value string) structs.TxnOp {
		return kvOp(structs.KVSet, structs.DirEntry{Key: "k", Value: []byte(value)})
	}
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

func nodeOp(verb structs.TxnVerb, n structs.Node) structs.TxnOp {
	return structs.TxnOp{Node: &structs.TxnNodeOp{Verb: verb, Node: n}}
}

func serviceOp(verb structs.TxnVerb, node string, s structs.NodeService) structs.TxnOp {
	return structs.TxnOp{Service: &structs.TxnServiceOp{Verb: verb, Node: node, Service: s}}
}

func checkOp(verb structs.TxnVerb, c structs.HealthCheck) structs.TxnOp {
	return structs.TxnOp{Check: &structs.TxnCheckOp{Verb: verb, Check: c}}
}

func sessionOp(verb structs.TxnVerb, id string) structs.TxnOp {
	return structs.TxnOp{Session: &structs.TxnSessionOp{Verb: verb, Session: structs.Session{ID: id}}}
}

// catalogDB is a store with node n at 5, service s on it at 6 and check c at 7.
func catalogDB(t testing.TB) *db {
	d := newDB(t)
	d.at(5).txn(nodeOp(structs.TxnSet, structs.Node{ID: "id-n", Node: "n", Address: "1.1.1.1"}))
	d.txn(serviceOp(structs.TxnSet, "n", structs.NodeService{ID: "s", Service: "web", Tags: []string{"a"}}))
	d.txn(checkOp(structs.TxnSet, structs.HealthCheck{Node: "n", CheckID: "c", Status: structs.HealthPassing, ServiceID: "s"}))
	return d
}

// Every verb about the catalog with what it gives and what it says when it
// fails. The transaction comes at 9.
func TestTxnCatalog(t *testing.T) {
	t.Parallel()
	at := func(index uint64) structs.RaftIndex { return structs.RaftIndex{ModifyIndex: index} }
	node := func(name string, index uint64) structs.Node {
		return structs.Node{Node: name, Address: "2.2.2.2", RaftIndex: at(index)}
	}
	service := func(id string, index uint64) structs.NodeService {
		return structs.NodeService{ID: id, Service: "web", Port: 80, RaftIndex: at(index)}
	}
	check := func(node, id string, index uint64) structs.HealthCheck {
		return structs.HealthCheck{Node: node, CheckID: id, Output: "new", RaftIndex: at(index)}
	}
	for _, test := range []struct {
		op   structs.TxnOp
		want string // name, address or port or output, indexes
	}{
		{nodeOp(structs.TxnGet, node("N", 0)), "node n 1.1.1.1 @5/5"},
		{nodeOp(structs.TxnGet, structs.Node{ID: "ID-N", Node: "whatever"}), "node n 1.1.1.1 @5/5"},
		{nodeOp(structs.TxnGet, node("x", 0)), `0: node "x" doesn't exist`},
		{nodeOp(structs.TxnGet, structs.Node{ID: "id-x", Node: "n"}), `0: node "n" doesn't exist`},
		{nodeOp(structs.TxnSet, node("n", 0)), "node n 2.2.2.2 @5/9"},
		{nodeOp(structs.TxnSet, node("x", 0)), "node x 2.2.2.2 @9/9"},
		{nodeOp(structs.TxnSet, structs.Node{ID: "id-n", Node: "n", Address: "1.1.1.1"}), "node n 1.1.1.1 @5/5"},
		{nodeOp(structs.TxnSet, structs.Node{}), "0: Must provide node"},
		{nodeOp(structs.TxnCAS, node("n", 5)), "node n 2.2.2.2 @5/9"},
		{nodeOp(structs.TxnCAS, node("n", 4)), `0: failed to set node "n", index is stale`},
		{nodeOp(structs.TxnCAS, node("n", 0)), `0: failed to set node "n", index is stale`},
		{nodeOp(structs.TxnCAS, node("x", 0)), "node x 2.2.2.2 @9/9"},
		{nodeOp(structs.TxnCAS, node("x", 5)), `0: failed to set node "x", index is stale`},
		{nodeOp(structs.TxnDelete, node("n", 0)), ""},
		{nodeOp(structs.TxnDelete, node("x", 0)), ""},
		{nodeOp(structs.TxnDeleteCAS, node("n", 5)), ""},
		{nodeOp(structs.TxnDeleteCAS, node("n", 4)), `0: failed to delete node "n", index is stale`},
		{nodeOp(structs.TxnDeleteCAS, node("x", 0)), `0: failed to delete node "x", index is stale`},
		{nodeOp("bogus", node("n", 0)), "0: unknown Node operation: bogus"},
		{serviceOp(structs.TxnGet, "n", service("S", 0)), "service s 0 @6/6"},
		{serviceOp(structs.TxnGet, "n", service("x", 0)), `0: service "x" on node "n" doesn't exist`},
		{serviceOp(structs.TxnGet, "x", service("s", 0)), `0: service "s" on node "x" doesn't exist`},
		{serviceOp(structs.TxnSet, "n", service("s", 0)), "service s 80 @6/9"},
		{serviceOp(structs.TxnSet, "n", service("x", 0)), "service x 80 @9/9"},
		{serviceOp(structs.TxnSet, "x", service("s", 0)), "0: Missing node registration"},
		{serviceOp(structs.TxnCAS, "n", service("s", 6)), "service s 80 @6/9"},
		{serviceOp(structs.TxnCAS, "n", service("s", 5)), `0: failed to set service "s" on node "n", index is stale`},
		{serviceOp(structs.TxnCAS, "n", service("x", 0)), "service x 80 @9/9"},
		{serviceOp(structs.TxnDelete, "n", service("s", 0)), ""},
		{serviceOp(structs.TxnDelete, "n", service("x", 0)), ""},
		{serviceOp(structs.TxnDeleteCAS, "n", service("s", 6)), ""},
		{serviceOp(structs.TxnDeleteCAS, "n", service("s", 5)), `0: failed to delete service "s" on node "n", index is stale`},
		{serviceOp(structs.TxnDeleteCAS, "n", service("x", 0)), `0: failed to delete service "x" on node "n", index is stale`},
		{serviceOp("", "n", service("s", 0)), "0: unknown Service operation: "},
		{checkOp(structs.TxnGet, check("N", "C", 0)), "check c passing @7/7"},
		{checkOp(structs.TxnGet, check("n", "x", 0)), `0: check "x" on node "n" doesn't exist`},
		{checkOp(structs.TxnSet, check("n", "c", 0)), "check c critical new@7/9"},
		{checkOp(structs.TxnSet, check("n", "x", 0)), "check x critical new@9/9"},
		{checkOp(structs.TxnSet, check("x", "c", 0)), "0: Missing node registration"},
		{checkOp(structs.TxnSet, structs.HealthCheck{Node: "n", CheckID: "c", ServiceID: "x"}), "0: Missing service registration"},
		{checkOp(structs.TxnCAS, check("n", "c", 7)), "check c critical new@7/9"},
		{checkOp(structs.TxnCAS, check("n", "c", 8)), `0: failed to set check "c" on node "n", index is stale`},
		{checkOp(structs.TxnDelete, check("n", "c", 0)), ""},
		{checkOp(structs.TxnDelete, check("x", "c", 0)), ""},
		{checkOp(structs.TxnDeleteCAS, check("n", "c", 7)), ""},
		{checkOp(structs.TxnDeleteCAS, check("n", "c", 0)), `0: failed to delete check "c" on node "n", index is stale`},
		{checkOp("lock", check("n", "c", 0)), "0: unknown Check operation: lock"},
		{sessionOp(structs.TxnDelete, "nobody"), ""},
		{sessionOp(structs.TxnGet, "nobody"), "0: unknown Session operation: get"},
		{sessionOp(structs.TxnSet, "nobody"), "0: unknown Session operation: set"},
		{structs.TxnOp{Intention: &structs.TxnIntentionOp{}}, "0: Praetor has no service mesh, so no intentions"},
	} {
		d := catalogDB(t)
		before := d.everything()
		if !test.op.Writes() {
			if got := outcome(d.Read().Txn([]structs.TxnOp{test.op})); got != test.want {
				t.Errorf("read %s: got %q, want %q", show(test.op), got, test.want)
			}
		}
		reply := d.at(9).txn(test.op)
		if got := outcome(reply); got != test.want {
			t.Errorf("%s: got %q, want %q", show(test.op), got, test.want)
		}
		if reply.Errors != nil || !test.op.Writes() {
			if diff := cmp.Diff(before, d.everything()); diff != "" {
				t.Errorf("%s: left (-before +after):\n%s", show(test.op), diff)
			}
		}
	}
}

// show is an operation as text.
func show(op structs.TxnOp) string {
	text, _ := json.Marshal(op)
	return string(text)
}

// A node, its service and its check can come in one transaction, and go in
// another, with the session that depended on them and its locks.
func TestTxnCatalogSeesItself(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	name := structs.Node{Node: "n", Address: "1.1.1.1"}
	got := outcome(d.at(5).txn(
		nodeOp(structs.TxnCAS, name),
		serviceOp(structs.TxnCAS, "n", structs.NodeService{ID: "s", Service: "web"}),
		checkOp(structs.TxnCAS, structs.HealthCheck{Node: "n", CheckID: "c", ServiceID: "s", Status: structs.HealthPassing}),
		checkOp(structs.TxnGet, structs.HealthCheck{Node: "n", CheckID: "c"}),
		nodeOp(structs.TxnGet, name),
	))
	if want := "node n 1.1.1.1 @5/5 service s 0 @5/5 check c passing @5/5 check c passing @5/5 node n 1.1.1.1 @5/5"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	d.session(structs.Session{ID: "held", Node: "n", NodeChecks: []string{"c"}})
	lock := structs.DirEntry{Key: "k", Session: "held", Value: []byte("v")}
	if got, want := outcome(d.txn(kvOp(structs.KVLock, lock), kvOp(structs.KVCheckSession, lock))), "k=(0 1 held)@7/7 k=(0 1 held)@7/7"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	critical := structs.HealthCheck{Node: "n", CheckID: "c", ServiceID: "s"}
	got = outcome(d.txn(checkOp(structs.TxnSet, critical), kvOp(structs.KVGet, lock), kvOp(structs.KVLock, lock)))
	if want := `2: invalid session "held"`; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got = outcome(d.txn(kvOp(structs.KVGet, lock)))
	if want := "k=v(0 1 held)@7/7"; got != want {
		t.Errorf("after a transaction that failed: got %q, want %q", got, want)
	}
	got = outcome(d.txn(serviceOp(structs.TxnDelete, "n", structs.NodeService{ID: "s"}), kvOp(structs.KVGet, lock)))
	if want := "k=v(0 1 )@7/10"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Who deletes a session in a transaction takes its locks from it, and their
// delay holds for the same transaction too.
func TestTxnSessionDelete(t *testing.T) {
	t.Parallel()
	d := catalogDB(t)
	d.session(structs.Session{ID: "one", Node: "n", LockDelay: time.Second})
	d.session(structs.Session{ID: "two", Node: "n"})
	k := func(session string, lockIndex uint64) structs.DirEntry {
		return structs.DirEntry{Key: "k", Session: session, LockIndex: lockIndex}
	}
	if got, want := outcome(d.at(20).txn(kvOp(structs.KVLock, k("one", 0)), kvOp(structs.KVCheckFence, k("", 1)))), "k=(0 1 one)@20/20 k=(0 1 one)@20/20"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got := outcome(d.txn(
		kvOp(structs.KVLock, k("two", 0)), kvOp(structs.KVUnlock, k("two", 0)), kvOp(structs.KVLock, k("", 0)), kvOp(structs.KVLock, k("x", 0)),
		kvOp(structs.KVCheckFence, k("", 2)), kvOp(structs.KVCheckFence, structs.DirEntry{Key: "free"}),
	))
	want := `0: failed to lock key "k", lock is already held ` +
		`1: failed to unlock key "k", lock isn't held, or is held by another session 2: missing session 3: invalid session "x" ` +
		`4: fenced: the lock on key "k" is held under index 1, not 2 5: fenced: the lock on key "free" is not held`
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got = outcome(d.txn(sessionOp(structs.TxnDelete, "ONE"), kvOp(structs.KVLock, k("two", 0))))
	if want := `1: failed to lock key "k" due to lock delay`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = outcome(d.txn(sessionOp(structs.TxnDelete, "ONE"), kvOp(structs.KVGet, k("", 0))))
	if want := "k=(0 1 )@20/23"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := d.Read().Session("one"); got != nil {
		t.Errorf("the session is still there: %+v", got)
	}
	over := k("two", 0)
	over.LockDelayIndex = 23
	got = outcome(d.txn(kvOp(structs.KVCheckFence, k("", 1)), kvOp(structs.KVLock, over)))
	if want := `0: fenced: the lock on key "k" is not held`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = outcome(d.txn(kvOp(structs.KVLock, over), kvOp(structs.KVCheckFence, k("", 2)), kvOp(structs.KVUnlock, over)))
	if want := "k=(0 2 two)@20/25 k=(0 2 two)@20/25 k=(0 2 )@20/25"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A transaction that would find more than any server should hold fails, and
// goes no further.
func TestTxnFindsTooMuch(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.set("large/1", strings.Repeat("x", 1<<20))
	d.set("large/2", strings.Repeat("x", 1<<20))
	tree := kvOp(structs.KVGetTree, structs.DirEntry{Key: "large/"})
	if reply := d.txn(slices.Repeat([]structs.TxnOp{tree}, 128)...); len(reply.Results) != 256 {
		t.Errorf("got %d rows, %v, want 256", len(reply.Results), reply.Errors)
	}
	before := d.everything()
	reply := d.txn(slices.Concat(
		[]structs.TxnOp{kvOp(structs.KVSet, structs.DirEntry{Key: "k"})}, slices.Repeat([]structs.TxnOp{tree}, 200),
		[]structs.TxnOp{kvOp(structs.KVGet, structs.DirEntry{Key: "nope"})})...)
	if got, want := outcome(reply), "129: the transaction finds more than 1048576 rows or 268435456 bytes of values"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if d.everything() != before {
		t.Error("it left something")
	}

	rows, runs := make([]structs.TxnResult, 1<<18), 0
	reply = state.RunTxn(slices.Repeat([]structs.TxnOp{tree}, 8), func(*structs.TxnOp) ([]structs.TxnResult, error) {
		runs++
		return rows, nil
	})
	if got, want := outcome(reply), "4: the transaction finds more than 1048576 rows or 268435456 bytes of values"; got != want || runs != 5 {
		t.Errorf("got %q after %d operations, want %q after 5", got, runs, want)
	}
}

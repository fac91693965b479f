package state_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"praetor/state"
	"praetor/structs"
)

// A write wakes those whose result it changed, and leaves the others alone.
func TestWriteWakesWhomItConcerns(t *testing.T) {
	t.Parallel()
	get := func(key string) func(*state.Reader) { return func(r *state.Reader) { r.KV(key) } }
	list := func(prefix string) func(*state.Reader) { return func(r *state.Reader) { r.KVTree(prefix) } }
	for _, test := range []struct {
		name  string
		write func(*db)
		read  func(*state.Reader)
		want  bool
	}{
		{"set, get", func(d *db) { d.set("a/1", "x") }, get("a/1"), true},
		{"set, get other", func(d *db) { d.set("a/1", "x") }, get("a/2"), false},
		{"set, get longer", func(d *db) { d.set("a/1", "x") }, get("a/10"), false},
		{"set, list", func(d *db) { d.set("a/1", "x") }, list("a/"), true},
		{"set, list all", func(d *db) { d.set("a/1", "x") }, list(""), true},
		{"set, list other", func(d *db) { d.set("a/1", "x") }, list("b/"), false},
		{"create, get", func(d *db) { d.set("new", "x") }, get("new"), true},
		{"create, list", func(d *db) { d.set("a/new", "x") }, list("a/"), true},
		{"create, list of nothing", func(d *db) { d.set("new/a", "x") }, list("new/"), true},
		{"create, list other", func(d *db) { d.set("a/new", "x") }, list("b/"), false},
		{"create, get other", func(d *db) { d.set("a/new", "x") }, get("b/1"), false},
		{"delete, get", func(d *db) { d.delete("a/1") }, get("a/1"), true},
		{"delete, list", func(d *db) { d.delete("a/1") }, list("a/"), true},
		{"delete, list other", func(d *db) { d.delete("a/1") }, list("b/"), false},
		{"delete-tree, get", func(d *db) { d.deleteTree("a/") }, get("a/2"), true},
		{"delete-tree, list", func(d *db) { d.deleteTree("a/") }, list("a/1"), true},
		{"delete-tree, list other", func(d *db) { d.deleteTree("a/") }, list("b/"), false},
		{"same set, get", func(d *db) { d.set("a/1", "v") }, get("a/1"), false},
		{"same set, list", func(d *db) { d.set("a/1", "v") }, list("a/"), false},
		{"same set, list all", func(d *db) { d.set("a/1", "v") }, list(""), false},
		{"refresh, get", func(d *db) { d.timed("a/t") }, get("a/t"), false},
		{"refresh, list", func(d *db) { d.timed("a/t") }, list("a/"), false},
		{"refresh, list all", func(d *db) { d.timed("a/t") }, list(""), false},
		{"end of TTL, get", func(d *db) { d.set("a/t", "v") }, get("a/t"), true},
		{"expiry, get", func(d *db) { d.timed("a/t"); d.expire("a/t") }, get("a/t"), true},
		{"expiry, list", func(d *db) { d.timed("a/t"); d.expire("a/t") }, list("a/"), true},
		{"lock, get", func(d *db) { d.lock("a/1", "s") }, get("a/1"), true},
		{"lock, get other", func(d *db) { d.lock("a/1", "s") }, get("a/2"), false},
		{"lost session, get", func(d *db) { d.destroy("s") }, get("b/1"), true},
		{"lost session, get other", func(d *db) { d.destroy("s") }, get("a/1"), false},
		{"lost session, session", func(d *db) { d.destroy("s") }, func(r *state.Reader) { r.Session("s") }, true},
		{"lost session, other session", func(d *db) { d.destroy("s") }, func(r *state.Reader) { r.Session("t") }, false},
		{"lost session, node", func(d *db) { d.destroy("s") }, func(r *state.Reader) { r.NodeSessions("n") }, true},
		{"lost session, other node", func(d *db) { d.destroy("s") }, func(r *state.Reader) { r.NodeSessions("m") }, false},
		{"lost session, sessions", func(d *db) { d.destroy("s") }, func(r *state.Reader) { r.Sessions() }, true},
		{"lost session, index", func(d *db) { d.destroy("s") }, func(r *state.Reader) { r.SessionsIndex() }, true},
		{"new session, sessions", func(d *db) { d.session(structs.Session{ID: "u", Node: "n"}) }, func(r *state.Reader) { r.Sessions() }, true},
		{"refresh, TTLs", func(d *db) { d.timed("a/t") }, func(r *state.Reader) { r.KeyTTLsSince(1000) }, true},
		{"set, TTLs", func(d *db) { d.set("a/1", "x") }, func(r *state.Reader) { r.KeyTTLsSince(0) }, false},
		{"cas in vain, list", func(d *db) { d.kv(structs.KVCAS, structs.DirEntry{Key: "a/1"}) }, list(""), false},
		{"delete of nothing, list", func(d *db) { d.delete("zzz") }, list(""), false},
		{"delete of nothing, get", func(d *db) { d.delete("zzz") }, get("zzz"), false},
		{"reap, list", func(d *db) { d.reap(100) }, list("a/"), false},
		{"reap, list all", func(d *db) { d.reap(100) }, list(""), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDB(t)
				for i := range 12 {
					d.set(fmt.Sprintf("a/%d", i), "v")
					d.set(fmt.Sprintf("b/%d", i), "v")
				}
				d.delete("a/11")
				d.timed("a/t")
				d.node("n", "c")
				d.node("m", "c")
				d.session(structs.Session{ID: "s", Node: "n"})
				d.session(structs.Session{ID: "t", Node: "m"})
				d.lock("b/1", "s")
				r := d.Watch()
				test.read(r)
				test.write(d)
				if got := woken(r); got != test.want {
					t.Errorf("woken: got %v, want %v", got, test.want)
				}
			})
		})
	}
}

// Everything that was read counts, and one change is enough.
func TestReaderWatchesAllItRead(t *testing.T) {
	t.Parallel()
	for _, touched := range []string{"a", "b", "c", "d/9"} {
		synctest.Test(t, func(t *testing.T) {
			d := newDB(t)
			for _, key := range []string{"a", "b", "c", "d/1"} {
				d.set(key, "v")
			}
			r := d.Watch()
			for _, key := range []string{"a", "b", "c"} {
				r.KV(key)
			}
			r.KVTree("d/")
			d.set(touched, "x")
			if !woken(r) {
				t.Errorf("a write to %s woke nobody", touched)
			}
		})
	}
}

// Nobody is woken before the transaction is over, or by one that is dropped.
func TestOnlyCommitWakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDB(t)
		d.set("a", "v")
		r := d.Watch()
		r.KV("a")
		w := d.Write()
		w.Begin(2)
		if _, err := w.ApplyKV(&structs.KVSRequest{Op: structs.KVDelete, DirEnt: structs.DirEntry{Key: "a"}}); err != nil {
			t.Fatal(err)
		}
		if woken(r) {
			t.Error("woken before the commit")
		}
		w.Abort()
		if e, _ := d.get("a"); woken(r) || e == nil {
			t.Error("an aborted transaction woke a reader, or left something behind")
		}
	})
}

// Abandon wakes everyone: those who wait, and those who come too late.
func TestAbandonWakesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDB(t)
		d.set("a", "v")
		awake := make(chan bool)
		for _, read := range []func(*state.Reader){
			func(r *state.Reader) { r.KV("a") },
			func(r *state.Reader) { r.KV("missing") },
			func(r *state.Reader) { r.KVTree("") },
			func(*state.Reader) {},
		} {
			r := d.Watch()
			read(r)
			go func() { awake <- r.Wait(t.Context()) == nil }()
		}
		synctest.Wait()
		select {
		case <-awake:
			t.Fatal("woken before Abandon")
		default:
		}
		d.Abandon()
		for range 4 {
			if !<-awake {
				t.Error("woken by something else than Abandon")
			}
		}
		if !woken(d.Watch()) {
			t.Error("a reader of an abandoned store waits")
		}
	})
}

// What a reader has is what there was when it began.
func TestReaderIsAView(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.set("a", "1")
	r := d.Read()
	d.set("a", "2")
	d.set("b", "1")
	if e := r.KV("a"); string(e.Value) != "1" {
		t.Errorf("got %s, want 1", e.Value)
	}
	if got := len(r.KVTree("")); got != 1 {
		t.Errorf("got %d keys, want 1", got)
	}
	if r.LastIndex() != 1 || r.Index() != 1 {
		t.Errorf("got last index %d and index %d, want 1 and 1", r.LastIndex(), r.Index())
	}
}

package state_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/state"
	"praetor/structs"
)

// node registers a node with a check that passes.
func (d *db) node(name, check string) {
	d.t.Helper()
	d.apply(func(w *state.Writer) error {
		_, err := w.ApplyRegister(&structs.RegisterRequest{
			Node: name, Address: "10.0.0.1", Check: &structs.HealthCheck{Node: name, CheckID: check, Status: structs.HealthPassing},
		})
		return err
	})
}

func (d *db) session(s structs.Session) {
	d.t.Helper()
	d.apply(func(w *state.Writer) error {
		_, err := w.ApplySession(&structs.SessionRequest{Op: structs.SessionCreate, Session: s})
		return err
	})
}

func (d *db) destroy(id string) {
	d.t.Helper()
	d.apply(func(w *state.Writer) error {
		_, err := w.ApplySession(&structs.SessionRequest{Op: structs.SessionDestroy, Session: structs.Session{ID: id}})
		return err
	})
}

// apply runs one command at the next raft index, in a transaction of its own.
func (d *db) apply(command func(*state.Writer) error) {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	if err := command(w); err != nil {
		d.t.Fatalf("at %d: %v", d.index, err)
	}
	w.Commit()
}

func (d *db) lock(key, session string) bool {
	d.t.Helper()
	return d.kv(structs.KVLock, structs.DirEntry{Key: key, Session: session})
}

// Whatever happens to a key, each time its lock is taken the index is higher,
// until its tombstone is reaped.
func TestLockIndexNeverGoesBack(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(d *db){
		"unlock":             func(d *db) { d.kv(structs.KVUnlock, structs.DirEntry{Key: "a/k", Session: "s"}) },
		"set and unlock":     func(d *db) { d.set("a/k", "x"); d.kv(structs.KVUnlock, structs.DirEntry{Key: "a/k", Session: "s"}) },
		"destroy":            func(d *db) { d.destroy("s") },
		"delete":             func(d *db) { d.delete("a/k") },
		"delete, set":        func(d *db) { d.delete("a/k"); d.set("a/k", "x") },
		"delete, set twice":  func(d *db) { d.delete("a/k"); d.set("a/k", "x"); d.delete("a/k"); d.set("a/k", "y") },
		"delete-tree":        func(d *db) { d.deleteTree("a/") },
		"delete-tree of all": func(d *db) { d.deleteTree("") },
		"delete-tree, same":  func(d *db) { d.deleteTree("a/k") },
		"delete, then -tree": func(d *db) { d.delete("a/k"); d.set("a/kk", "x"); d.deleteTree("a/k") },
		"expiry": func(d *db) {
			d.kv(structs.KVSet, structs.DirEntry{Key: "a/k", TTL: time.Second})
			d.kv(structs.KVExpire, structs.DirEntry{Key: "a/k", TTLIndex: d.index})
		},
		"session with behavior delete": func(d *db) {
			d.kv(structs.KVUnlock, structs.DirEntry{Key: "a/k", Session: "s"})
			d.session(structs.Session{ID: "d", Node: "n", Behavior: structs.SessionDelete})
			d.lock("a/k", "d") // 2
			d.destroy("d")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			d.node("n", "c")
			d.session(structs.Session{ID: "s", Node: "n"})
			d.session(structs.Session{ID: "next", Node: "n"})
			if !d.lock("a/k", "s") {
				t.Fatal("cannot take a free lock")
			}
			lose(d)
			if !d.lock("a/k", "next") {
				t.Fatal("cannot take the lock again")
			}
			want := uint64(2)
			if name == "session with behavior delete" {
				want = 3
			}
			if e, _ := d.get("a/k"); e.LockIndex != want || e.Session != "next" {
				t.Errorf("got %+v, want LockIndex %d", e, want)
			}
			d.delete("a/k")
			d.reap(d.index)
			d.lock("a/k", "next")
			if e, _ := d.get("a/k"); e.LockIndex != 1 {
				t.Errorf("after the tombstone was reaped: got LockIndex %d, want 1", e.LockIndex)
			}
		})
	}
}

// A refused command changes nothing, and says why.
func TestFence(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.node("n", "c")
	d.session(structs.Session{ID: "s", Node: "n"})
	d.lock("lock", "s")
	d.set("k", "v")
	try := func(op structs.KVOp, fence structs.Fence) error {
		w := d.Write()
		defer w.Abort()
		w.Begin(100)
		_, err := w.ApplyKV(&structs.KVSRequest{Op: op, DirEnt: structs.DirEntry{Key: "k", Session: "s", Value: []byte("new")}, Fence: &fence})
		if err != nil {
			if e := w.KV("k"); string(e.Value) != "v" || e.ModifyIndex == 100 {
				t.Errorf("a refused %s changed the key: %+v", op, e)
			}
		}
		return err
	}
	for _, op := range []structs.KVOp{
		structs.KVSet, structs.KVCAS, structs.KVDelete, structs.KVDeleteCAS, structs.KVDeleteTree, structs.KVLock, structs.KVUnlock, structs.KVExpire,
	} {
		if err := try(op, structs.Fence{Key: "lock", LockIndex: 1}); err != nil {
			t.Errorf("%s by the holder: %v", op, err)
		}
		for want, fence := range map[string]structs.Fence{
			`fenced: the lock on key "lock" is held under index 1, not 2`: {Key: "lock", LockIndex: 2},
			`fenced: the lock on key "lock" is held under index 1, not 0`: {Key: "lock", LockIndex: 0},
			`fenced: the lock on key "none" is not held`:                  {Key: "none", LockIndex: 1},
			`fenced: the lock on key "k" is not held`:                     {Key: "k", LockIndex: 0},
		} {
			if err := try(op, fence); !structs.IsCode(err, structs.Fenced) || err.Error() != want {
				t.Errorf("%s: got %v, want %s", op, err, want)
			}
		}
	}
}

// A set restarts the TTL of a key without a trace in the key; a set without one
// ends it; an expiry that comes too late does nothing.
func TestTTL(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	ttl := func() *structs.KeyTTL { return d.Read().KeyTTL("k") }
	d.at(5).kv(structs.KVSet, structs.DirEntry{Key: "k", TTL: time.Minute})
	d.at(7).kv(structs.KVSet, structs.DirEntry{Key: "k", TTL: time.Minute})
	if diff := cmp.Diff(&structs.KeyTTL{Key: "k", TTL: time.Minute, Index: 7}, ttl()); diff != "" {
		t.Errorf("after a refresh (-want +got):\n%s", diff)
	}
	if e, index := d.get("k"); e.ModifyIndex != 5 || index != 5 || e.TTL != time.Minute {
		t.Errorf("after a refresh: got %+v at %d, want the key as it was at 5", e, index)
	}
	if d.at(8).kv(structs.KVExpire, structs.DirEntry{Key: "k", TTLIndex: 5}) {
		t.Error("an expiry of before the refresh worked")
	}
	d.at(9).kv(structs.KVSet, structs.DirEntry{Key: "k"})
	if e, index := d.get("k"); ttl() != nil || e.TTL != 0 || index != 9 {
		t.Errorf("after a set without TTL: got %+v at %d, %+v, want a change and no TTL", e, index, ttl())
	}
	if d.at(10).kv(structs.KVExpire, structs.DirEntry{Key: "k", TTLIndex: 7}) {
		t.Error("a permanent key expired")
	}
	d.at(11).kv(structs.KVSet, structs.DirEntry{Key: "k", TTL: time.Minute})
	if !d.at(12).kv(structs.KVExpire, structs.DirEntry{Key: "k", TTLIndex: 11}) {
		t.Error("a key did not expire")
	}
	if e, index := d.get("k"); e != nil || index != 12 || ttl() != nil {
		t.Errorf("got %+v at %d, %+v, want the key and its TTL gone at 12", e, index, ttl())
	}
}

// Ids of sessions, and names of nodes and checks, are found whatever their case.
func TestSessionNamesFold(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.node("Web-1", "Alive")
	d.session(structs.Session{ID: "ab-cd", Node: "WEB-1", NodeChecks: []string{"ALIVE"}})
	if r := d.Read(); r.Session("AB-CD") == nil || len(r.NodeSessions("web-1")) != 1 || r.Index() != d.index {
		t.Errorf("the session is not found: %+v", r.Sessions())
	}
	if !d.lock("k", "AB-cd") || !d.lock("k", "ab-CD") {
		t.Error("cannot take the lock, and again")
	}
	d.apply(func(w *state.Writer) error {
		_, err := w.ApplyDeregister(&structs.DeregisterRequest{Node: "web-1", CheckID: "alive"})
		return err
	})
	if e, _ := d.get("k"); e.Session != "" || len(d.Read().Sessions()) != 0 {
		t.Errorf("got %+v, want the session lost with its check", e)
	}
}

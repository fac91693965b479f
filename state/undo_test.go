package state_test

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"praetor/state"
	"praetor/structs"
)

// A command that is undone leaves no row, no index and no result, whatever it
// did before it failed; its neighbours in the transaction stand.
func TestUndo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		prepare := func() *db {
			d := newDB(t)
			d.set("a/1", "v")
			d.set("a/2", "v")
			d.set("b", "v")
			d.delete("b")
			return d
		}
		apply := func(w *state.Writer, op structs.KVOp, entry structs.DirEntry) {
			if _, err := w.ApplyKV(&structs.KVSRequest{Op: op, DirEnt: entry}); err != nil {
				t.Fatal(err)
			}
		}
		before, after := prepare(), prepare()
		transaction := func(d *db, undone bool) {
			w := d.Write()
			w.Begin(10)
			apply(w, structs.KVSet, structs.DirEntry{Key: "first", Value: []byte("1")})
			if undone {
				w.Begin(11)
				apply(w, structs.KVSet, structs.DirEntry{Key: "a/1", Value: []byte("new")})
				apply(w, structs.KVSet, structs.DirEntry{Key: "a/1", Value: []byte("newer")})
				apply(w, structs.KVSet, structs.DirEntry{Key: "first", Value: []byte("gone")})
				apply(w, structs.KVDelete, structs.DirEntry{Key: "a/2"})
				apply(w, structs.KVSet, structs.DirEntry{Key: "a/2", Value: []byte("back")})
				apply(w, structs.KVSet, structs.DirEntry{Key: "c"})
				apply(w, structs.KVDeleteTree, structs.DirEntry{Key: "a/"})
				apply(w, structs.KVDeleteTree, structs.DirEntry{Key: ""})
				if _, err := w.ApplyTombstone(&structs.TombstoneRequest{Op: structs.TombstoneReap, ReapIndex: 99}); err != nil {
					t.Fatal(err)
				}
				w.Undo()
				w.Undo() // the second has nothing to do
			}
			w.Begin(12)
			apply(w, structs.KVSet, structs.DirEntry{Key: "last", Value: []byte("1")})
			w.Commit()
		}
		r := after.Watch()
		r.KVTree("a/")
		transaction(before, false)
		transaction(after, true)
		for i := range 3 {
			var want, got [3]any
			want[0], want[1], want[2] = dump(before.Read())
			got[0], got[1], got[2] = dump(after.Read())
			if diff := cmp.Diff(want[i], got[i]); diff != "" {
				t.Errorf("the undone command left something (-without it +with it):\n%s", diff)
			}
		}
		// Whoever was woken for nothing sees what it saw before.
		again := after.Read()
		again.KVTree("a/")
		if again.Index() != r.Index() {
			t.Errorf("the index of a list went from %d to %d", r.Index(), again.Index())
		}
	})
}

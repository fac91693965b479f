package state_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/state"
	"praetor/structs"
)

// What each kind of delete leaves behind (consul-wire.md 8.2).
func TestTombstones(t *testing.T) {
	t.Parallel()
	stone := func(key string) []structs.Tombstone { return []structs.Tombstone{{Key: key, Index: 9}} }
	for name, test := range map[string]struct {
		op   structs.KVOp
		key  string
		want []structs.Tombstone
	}{
		"delete":                  {structs.KVDelete, "a/b", stone("a/b")},
		"delete of a missing key": {structs.KVDelete, "a", nil},
		"delete-cas of a missing": {structs.KVDeleteCAS, "a", nil},
		"delete-cas, wrong index": {structs.KVDeleteCAS, "a/b", nil},
		"delete-tree is one":      {structs.KVDeleteTree, "a/", stone("a/")},
		"delete-tree, half a key": {structs.KVDeleteTree, "a/b", stone("a/b")},
		"delete-tree of nothing":  {structs.KVDeleteTree, "x", nil},
		"delete of everything":    {structs.KVDeleteTree, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			d.at(3).set("a/b", "1")
			d.at(4).set("a/bc", "2")
			d.at(9).kv(test.op, structs.DirEntry{Key: test.key})
			_, got, _ := dump(d.Read())
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("tombstones (-want +got):\n%s", diff)
			}
			r := d.Read()
			if got, want := r.HasTombstones(), test.want != nil; got != want {
				t.Errorf("HasTombstones: got %v, want %v", got, want)
			}
			var want uint64
			if test.want != nil {
				want = 9
			}
			if got := r.TombstoneIndex(); got != want {
				t.Errorf("TombstoneIndex: got %d, want %d", got, want)
			}
		})
	}
}

// A second delete of the same key leaves one tombstone, with the later index.
func TestTombstoneIsReplaced(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	for range 3 {
		d.set("k", "v")
		d.delete("k")
	}
	_, got, _ := dump(d.Read())
	if diff := cmp.Diff([]structs.Tombstone{{Key: "k", Index: 6}}, got); diff != "" {
		t.Errorf("tombstones (-want +got):\n%s", diff)
	}
	d.reap(4) // it was replaced in the index by number too
	if !d.Read().HasTombstones() {
		t.Error("a reap up to 4 took the tombstone of 6")
	}
}

// Reaping takes tombstones up to and with the index, and lets the index of a
// prefix go back, but not that of the table.
func TestReap(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.at(1).set("a/x", "")
	d.at(2).set("a/y", "")
	d.at(3).set("b", "")
	d.at(4).set("a/z", "")
	d.at(7).delete("a/x")
	d.at(8).delete("a/y")
	d.at(9).delete("b")
	d.at(20).reap(8)
	_, got, indexes := dump(d.Read())
	if diff := cmp.Diff([]structs.Tombstone{{Key: "b", Index: 9}}, got); diff != "" {
		t.Errorf("tombstones (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]structs.IndexEntry{{Key: "kvs", Value: 9}, {Key: "tombstones", Value: 9}}, indexes); diff != "" {
		t.Errorf("index rows (-want +got):\n%s", diff)
	}
	if keys, index := d.list("a/"); keys != "a/z" || index != 4 {
		t.Errorf("list a/: got %q at %d, want a/z at 4", keys, index)
	}
	d.at(21).reap(9)
	if r := d.Read(); r.HasTombstones() || r.TombstoneIndex() != 9 {
		t.Errorf("after the last: HasTombstones %v, TombstoneIndex %d, want false and 9", r.HasTombstones(), r.TombstoneIndex())
	}
	if keys, index := d.list("b"); keys != "" || index != 9 {
		t.Errorf("list b: got %q at %d, want nothing at the table's 9", keys, index)
	}
}

func TestTombstoneUnknownOperation(t *testing.T) {
	t.Parallel()
	w := state.New().Write()
	defer w.Abort()
	w.Begin(1)
	if _, err := w.ApplyTombstone(&structs.TombstoneRequest{Op: "raise"}); !structs.IsCode(err, structs.Invalid) {
		t.Errorf("got %v, want code Invalid", err)
	}
}

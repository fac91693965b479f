package state_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/state"
	"praetor/structs"
)

// entry is a row as the tests below write it down.
func entry(key, value string, create, modify uint64) *structs.DirEntry {
	e := &structs.DirEntry{Key: key, RaftIndex: structs.RaftIndex{CreateIndex: create, ModifyIndex: modify}}
	if value != "" {
		e.Value = []byte(value)
	}
	return e
}

// Every rule of consul-wire.md 8.2 about a single write. The key "k" is "v",
// written at 5; the command comes at 9.
func TestKVWrites(t *testing.T) {
	t.Parallel()
	at := func(index uint64) structs.RaftIndex { return structs.RaftIndex{ModifyIndex: index} }
	for name, test := range map[string]struct {
		op    structs.KVOp
		entry structs.DirEntry
		done  bool
		want  *structs.DirEntry // the key afterwards
		table uint64            // index of table kvs afterwards
	}{
		"set creates":                 {structs.KVSet, structs.DirEntry{Key: "new", Value: []byte("x")}, false, entry("new", "x", 9, 9), 9},
		"set updates":                 {structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("x")}, false, entry("k", "x", 5, 9), 9},
		"set to the same":             {structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("v")}, false, entry("k", "v", 5, 5), 5},
		"set ignores given indexes":   {structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("x"), RaftIndex: structs.RaftIndex{CreateIndex: 77, ModifyIndex: 77}}, false, entry("k", "x", 5, 9), 9},
		"set ignores a given session": {structs.KVSet, structs.DirEntry{Key: "new", Session: "s"}, false, entry("new", "", 9, 9), 9},
		"cas 0 creates":               {structs.KVCAS, structs.DirEntry{Key: "new", Value: []byte("x")}, true, entry("new", "x", 9, 9), 9},
		"cas 0 on a key":              {structs.KVCAS, structs.DirEntry{Key: "k", Value: []byte("x")}, false, entry("k", "v", 5, 5), 5},
		"cas on a missing key":        {structs.KVCAS, structs.DirEntry{Key: "new", RaftIndex: at(5)}, false, nil, 5},
		"cas with the index":          {structs.KVCAS, structs.DirEntry{Key: "k", Value: []byte("x"), RaftIndex: at(5)}, true, entry("k", "x", 5, 9), 9},
		"cas with an old index":       {structs.KVCAS, structs.DirEntry{Key: "k", Value: []byte("x"), RaftIndex: at(4)}, false, entry("k", "v", 5, 5), 5},
		"cas to the same":             {structs.KVCAS, structs.DirEntry{Key: "k", Value: []byte("v"), RaftIndex: at(5)}, true, entry("k", "v", 5, 5), 5},
		"delete":                      {structs.KVDelete, structs.DirEntry{Key: "k"}, false, nil, 9},
		"delete of a missing key":     {structs.KVDelete, structs.DirEntry{Key: "new"}, false, nil, 5},
		"delete of a prefix":          {structs.KVDelete, structs.DirEntry{Key: ""}, false, nil, 5},
		"delete-cas":                  {structs.KVDeleteCAS, structs.DirEntry{Key: "k", RaftIndex: at(5)}, true, nil, 9},
		"delete-cas, old index":       {structs.KVDeleteCAS, structs.DirEntry{Key: "k", RaftIndex: at(4)}, false, entry("k", "v", 5, 5), 5},
		"delete-cas 0":                {structs.KVDeleteCAS, structs.DirEntry{Key: "k"}, false, entry("k", "v", 5, 5), 5},
		"delete-cas of a missing key": {structs.KVDeleteCAS, structs.DirEntry{Key: "new", RaftIndex: at(4)}, true, nil, 5},
		"delete-tree":                 {structs.KVDeleteTree, structs.DirEntry{Key: "k"}, false, nil, 9},
		"delete-tree of nothing":      {structs.KVDeleteTree, structs.DirEntry{Key: "new"}, false, nil, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			d.at(5).set("k", "v")
			if done := d.at(9).kv(test.op, test.entry); done != test.done {
				t.Errorf("got result %v, want %v", done, test.done)
			}
			got, index := d.get(test.entry.Key)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("entry (-want +got):\n%s", diff)
			}
			want := test.table
			if test.want != nil {
				want = test.want.ModifyIndex
			}
			if index != want {
				t.Errorf("got index %d, want %d", index, want)
			}
			if _, index := d.list(""); index != test.table {
				t.Errorf("got table index %d, want %d", index, test.table)
			}
		})
	}
}

func TestKVUnknownOperation(t *testing.T) {
	t.Parallel()
	w := state.New().Write()
	defer w.Abort()
	w.Begin(1)
	_, err := w.ApplyKV(&structs.KVSRequest{Op: "frobnicate"})
	if !structs.IsCode(err, structs.Invalid) || err.Error() != "Invalid KVS operation 'frobnicate'" {
		t.Errorf("got %v, want code Invalid and Consul's words", err)
	}
}

// A plain write keeps the lock, session and index, whatever the request says of
// it; new flags are a change.
func TestKVSetOnALockedKey(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	w := d.Write()
	held := entry("k", "v", 3, 5)
	held.Session, held.LockIndex = "s", 2
	state.KVs.Restore(w, held, 5)
	w.Commit()
	want := *held
	d.at(9).kv(structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("v"), LockIndex: 7})
	if got, _ := d.get("k"); !cmp.Equal(got, &want) {
		t.Errorf("after the same write: got %+v, want %+v", got, want)
	}
	d.at(11).kv(structs.KVSet, structs.DirEntry{Key: "k", Value: []byte("v"), Flags: 7})
	want.Flags, want.ModifyIndex = 7, 11
	if got, _ := d.get("k"); !cmp.Equal(got, &want) {
		t.Errorf("after new flags: got %+v, want %+v", got, want)
	}
	d.at(12).delete("k")
	if got, _ := d.get("k"); got != nil {
		t.Errorf("a lock kept a delete away: got %+v", got)
	}
	d.at(13).set("k", "new")
	if got, _ := d.get("k"); got.Session != "" || got.LockIndex != 2 {
		t.Errorf("after delete and set: got session %q, lock index %d, want none and 2", got.Session, got.LockIndex)
	}
}

// The empty value is one value, however it is written.
func TestKVEmptyValue(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.kv(structs.KVSet, structs.DirEntry{Key: "k", Value: []byte{}})
	d.kv(structs.KVSet, structs.DirEntry{Key: "k"})
	if got, index := d.get("k"); got.Value != nil || index != 1 {
		t.Errorf("got value %#v at %d, want nil at 1", got.Value, index)
	}
}

// The stored row is not the request's: whoever keeps that may change it.
func TestKVKeepsNothingOfTheRequestRow(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	w := d.Write()
	w.Begin(1)
	c := &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "k", Flags: 1}}
	if _, err := w.ApplyKV(c); err != nil {
		t.Fatal(err)
	}
	w.Commit()
	c.DirEnt.Flags = 2
	if got, _ := d.get("k"); got.Flags != 1 {
		t.Errorf("got flags %d, want 1", got.Flags)
	}
}

// consul-wire.md 8.2 and 8.3: the index of a list counts what was deleted
// under the prefix, and only there.
func TestKVListIndex(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	if keys, index := d.list("tree/"); keys != "" || index != 0 {
		t.Fatalf("empty store: got %q at %d, want nothing at 0", keys, index)
	}
	d.at(10).set("tree/a", "1")
	d.at(11).set("tree/sub/b", "2")
	d.at(12).set("tree/sub/c", "3")
	d.at(20).set("other", "4")
	d.at(25).deleteTree("tree/")
	d.at(30).set("trek", "5")
	d.at(33).set("other", "6")
	for prefix, want := range map[string]struct {
		keys  string
		index uint64
	}{
		"":          {"other trek", 33},
		"o":         {"other", 33},
		"t":         {"trek", 30},
		"tre":       {"trek", 30},
		"tree":      {"", 25}, // the tombstone is named tree/
		"tree/":     {"", 25},
		"tree/sub/": {"", 33}, // no tombstone under it: the table's index
		"x":         {"", 33},
	} {
		if keys, index := d.list(prefix); keys != want.keys || index != want.index {
			t.Errorf("list %q: got %q at %d, want %q at %d", prefix, keys, index, want.keys, want.index)
		}
	}
	d.at(40).delete("trek")
	d.at(41).set("other", "7")
	if keys, index := d.list("tr"); keys != "" || index != 40 {
		t.Errorf("list tr after its delete: got %q at %d, want nothing at 40", keys, index)
	}
}

// Keys are bytes: case counts, no byte is special, and order is that of bytes.
func TestKVKeysAreBytes(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	names := []string{"\x00", "\x00\x00", "A", "a", "a\x00", "a\x00b", "aa", "ä", "\xff"}
	for _, name := range slices.Backward(names) {
		d.set(name, name)
	}
	var got []string
	for _, e := range d.Read().KVTree("") {
		got = append(got, e.Key)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for _, name := range names {
		if e, _ := d.get(name); e == nil || string(e.Value) != name {
			t.Errorf("get %q: got %+v", name, e)
		}
	}
	d.deleteTree("a\x00")
	if keys, _ := d.list("a"); keys != "a aa" {
		t.Errorf("after delete-tree a\\0: got %q, want %q", keys, "a aa")
	}
}

func TestKVKeysSeparator(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	for _, name := range []string{"a", "a/", "a/b", "a/b/c", "a/b/d", "a/e", "b--x--y", "b--x--z", "c"} {
		d.set(name, "")
	}
	for _, test := range []struct {
		prefix, separator string
		want              []string
	}{
		{"", "", []string{"a", "a/", "a/b", "a/b/c", "a/b/d", "a/e", "b--x--y", "b--x--z", "c"}},
		{"", "/", []string{"a", "a/", "b--x--y", "b--x--z", "c"}},
		{"a", "/", []string{"a", "a/"}},
		{"a/", "/", []string{"a/", "a/b", "a/b/", "a/e"}},
		{"a/b", "/", []string{"a/b", "a/b/"}},
		{"a/b/", "/", []string{"a/b/c", "a/b/d"}},
		{"b", "--", []string{"b--"}},
		{"b--", "--", []string{"b--x--"}},
		{"b-", "-", []string{"b--"}},
		{"zzz", "/", nil},
	} {
		r := d.Read()
		got := r.KVKeys(test.prefix, test.separator)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("keys %q cut at %q (-want +got):\n%s", test.prefix, test.separator, diff)
		}
		if _, want := d.list(test.prefix); r.Index() != want {
			t.Errorf("keys %q: got index %d, want that of the list, %d", test.prefix, r.Index(), want)
		}
	}
}

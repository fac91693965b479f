package state_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"praetor/state"
	"praetor/structs"
)

// twin is the KV store and its tombstones as maps, written without a thought
// for speed: what package state must do.
type twin struct {
	keys   map[string]structs.DirEntry
	stones map[string]uint64
	kvs    uint64 // index of each table
	tombs  uint64
}

func (m *twin) clone() *twin {
	return &twin{maps.Clone(m.keys), maps.Clone(m.stones), m.kvs, m.tombs}
}

func (m *twin) kv(index uint64, op structs.KVOp, e structs.DirEntry) bool {
	old, exists := m.keys[e.Key]
	switch op {
	case structs.KVCAS:
		if e.ModifyIndex != old.ModifyIndex {
			return false
		}
		m.set(index, e)
		return true
	case structs.KVSet:
		m.set(index, e)
	case structs.KVDeleteCAS:
		if exists && e.ModifyIndex != old.ModifyIndex {
			return false
		}
		m.delete(index, e.Key)
		return true
	case structs.KVDelete:
		m.delete(index, e.Key)
	case structs.KVDeleteTree:
		for key := range maps.Clone(m.keys) {
			if strings.HasPrefix(key, e.Key) {
				delete(m.keys, key)
				m.kvs = index
				if e.Key != "" {
					m.stones[e.Key], m.tombs = index, index
				}
			}
		}
	}
	return false
}

func (m *twin) set(index uint64, e structs.DirEntry) {
	old, exists := m.keys[e.Key]
	if exists && old.Flags == e.Flags && old.LockIndex == e.LockIndex && bytes.Equal(old.Value, e.Value) {
		return
	}
	e.CreateIndex, e.ModifyIndex = index, index
	if exists {
		e.CreateIndex = old.CreateIndex
	}
	if len(e.Value) == 0 {
		e.Value = nil
	}
	m.keys[e.Key], m.kvs = e, index
}

func (m *twin) delete(index uint64, key string) {
	if _, exists := m.keys[key]; exists {
		delete(m.keys, key)
		m.stones[key], m.kvs, m.tombs = index, index, index
	}
}

func (m *twin) reap(upTo uint64) {
	maps.DeleteFunc(m.stones, func(_ string, index uint64) bool { return index <= upTo })
}

// list returns the rows under a prefix and the index of the list.
func (m *twin) list(prefix string) (rows []structs.DirEntry, index uint64) {
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		if strings.HasPrefix(key, prefix) {
			rows = append(rows, m.keys[key])
			index = max(index, m.keys[key].ModifyIndex)
		}
	}
	for key, at := range m.stones {
		if strings.HasPrefix(key, prefix) {
			index = max(index, at)
		}
	}
	if prefix == "" || index == 0 {
		index = max(m.kvs, m.tombs)
	}
	return rows, index
}

// get returns what a read of one key finds, and its index.
func (m *twin) get(key string) (rows []structs.DirEntry, index uint64) {
	if row, exists := m.keys[key]; exists {
		return []structs.DirEntry{row}, row.ModifyIndex
	}
	return nil, max(m.kvs, m.tombs)
}

// watcher is a read that waits, and what it found.
type watcher struct {
	name   string
	reader *state.Reader
	rows   []structs.DirEntry
	again  func(*twin) []structs.DirEntry
}

// Random commands in random batches, some of them failing after they changed
// something, leave the store and its twin alike and wake whom they must.
func TestDumbTwin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[ab]?(/[ab]?){0,2}`)
		s, m := state.New(), &twin{keys: map[string]structs.DirEntry{}, stones: map[string]uint64{}}
		var index uint64
		for range rapid.IntRange(1, 12).Draw(t, "batches") {
			waiting := watchAll(s, m)
			w := s.Write()
			for range rapid.IntRange(1, 5).Draw(t, "commands") {
				index += rapid.Uint64Range(1, 2).Draw(t, "step")
				w.Begin(index)
				before := m.clone()
				for range rapid.IntRange(1, 3).Draw(t, "changes") {
					change(t, w, m, index, key)
				}
				if rapid.Bool().Draw(t, "fails") {
					w.Undo()
					m = before
				}
			}
			w.Commit()
			compare(t, s, m)
			for _, wait := range waiting {
				if !cmp.Equal(wait.rows, wait.again(m)) && !woken(wait.reader) {
					t.Fatalf("%s has changed but was not woken", wait.name)
				}
			}
		}
	})
}

// change does one random thing to the store and the twin.
func change(t *rapid.T, w *state.Writer, m *twin, index uint64, keys *rapid.Generator[string]) {
	op := rapid.SampledFrom([]structs.KVOp{
		structs.KVSet, structs.KVSet, structs.KVCAS, structs.KVDelete, structs.KVDeleteCAS, structs.KVDeleteTree, "reap", "nonsense",
	}).Draw(t, "op")
	if op == "reap" {
		upTo := rapid.Uint64Range(0, index).Draw(t, "up to")
		if _, err := w.ApplyTombstone(&structs.TombstoneRequest{Op: structs.TombstoneReap, ReapIndex: upTo}); err != nil {
			t.Fatal(err)
		}
		m.reap(upTo)
		return
	}
	e := structs.DirEntry{
		Key:       keys.Draw(t, "key"),
		Value:     []byte(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value")),
		Flags:     rapid.Uint64Range(0, 1).Draw(t, "flags"),
		LockIndex: rapid.Uint64Range(0, 1).Draw(t, "lock index"),
	}
	if rapid.Bool().Draw(t, "right index") {
		e.ModifyIndex = m.keys[e.Key].ModifyIndex
	} else {
		e.ModifyIndex = rapid.Uint64Range(0, index).Draw(t, "index")
	}
	done, err := w.ApplyKV(&structs.KVSRequest{Op: op, DirEnt: e})
	if op == "nonsense" {
		if !structs.IsCode(err, structs.Invalid) {
			t.Fatalf("nonsense: got %v, want code Invalid", err)
		}
		return
	}
	if want := m.kv(index, op, e); err != nil || done != want {
		t.Fatalf("%s %q at %d: got %v, %v, want %v", op, e.Key, index, done, err, want)
	}
}

// probes are the keys and prefixes that are compared.
var probes = []string{"", "a", "b", "/", "a/", "a/a", "a/a/", "a/b", "a//", "//", "b/", "b/b/b", "c"}

func watchAll(s *state.Store, m *twin) []watcher {
	var all []watcher
	for _, probe := range probes {
		got := watcher{name: fmt.Sprintf("get %q", probe), reader: s.Watch()}
		got.again = func(m *twin) []structs.DirEntry { rows, _ := m.get(probe); return rows }
		got.reader.KV(probe)
		list := watcher{name: fmt.Sprintf("list %q", probe), reader: s.Watch()}
		list.again = func(m *twin) []structs.DirEntry { rows, _ := m.list(probe); return rows }
		list.reader.KVTree(probe)
		got.rows, list.rows = got.again(m), list.again(m)
		all = append(all, got, list)
	}
	return all
}

func compare(t *rapid.T, s *state.Store, m *twin) {
	for _, probe := range probes {
		r := s.Read()
		var got []structs.DirEntry
		for _, e := range r.KVTree(probe) {
			got = append(got, *e)
		}
		want, index := m.list(probe)
		if diff := cmp.Diff(want, got); diff != "" || r.Index() != index {
			t.Fatalf("list %q: index %d, want %d; rows (-twin +store):\n%s", probe, r.Index(), index, diff)
		}
		r = s.Read()
		got = nil
		if e := r.KV(probe); e != nil {
			got = append(got, *e)
		}
		want, index = m.get(probe)
		if diff := cmp.Diff(want, got); diff != "" || r.Index() != index {
			t.Fatalf("get %q: index %d, want %d; rows (-twin +store):\n%s", probe, r.Index(), index, diff)
		}
	}
	r := s.Read()
	_, stones, _ := dump(r)
	got := map[string]uint64{}
	for _, stone := range stones {
		got[stone.Key] = stone.Index
	}
	if diff := cmp.Diff(m.stones, got); diff != "" {
		t.Fatalf("tombstones (-twin +store):\n%s", diff)
	}
	if r.TombstoneIndex() != m.tombs || r.HasTombstones() != (len(m.stones) > 0) || r.LastIndex() != max(m.kvs, m.tombs) {
		t.Fatalf("tombstone index %d, any %v, last index %d, want %d, %v, %d",
			r.TombstoneIndex(), r.HasTombstones(), r.LastIndex(), m.tombs, len(m.stones) > 0, max(m.kvs, m.tombs))
	}
}

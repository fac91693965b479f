package state_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"praetor/state"
	"praetor/structs"
)

// chronicle is the keys as they were at each index, newest last.
type chronicle []moment

type moment struct {
	index uint64
	keys  map[string]structs.DirEntry
}

// at is what was stored under a prefix when everything up to an index was applied.
func (c chronicle) at(index uint64, prefix string) map[string]structs.DirEntry {
	found := map[string]structs.DirEntry{}
	for i := len(c) - 1; i >= 0; i-- {
		if c[i].index <= index {
			for key, e := range c[i].keys {
				if strings.HasPrefix(key, prefix) {
					found[key] = e
				}
			}
			break
		}
	}
	return found
}

// client is one of a feed: it knows the keys under a prefix from what it
// was told, and nothing else.
type client struct {
	prefix string
	at     structs.FeedPosition
	keys   map[string]structs.DirEntry
	cursor *state.Cursor // nil: its connection is broken
	resets int
}

// connect goes on where the follower broke off, if the history lets it.
func (f *client) connect(t *rapid.T, s *state.Store) {
	c, err := s.Follow(f.prefix, f.at)
	if err == nil {
		f.cursor = c
		return
	}
	if !errors.Is(err, state.ErrForgotten) && !errors.Is(err, state.ErrReplaced) {
		t.Fatal(err)
	}
	f.resets++
	view, c := s.Begin(f.prefix)
	f.keys = map[string]structs.DirEntry{}
	for e := range view.KVsUnder(f.prefix) {
		f.keys[e.Key] = *e
	}
	f.cursor, f.at = c, c.At()
}

func (f *client) hangUp() {
	if f.cursor != nil {
		f.cursor.Close()
		f.cursor = nil
	}
}

// take reads some or all of what there is, and hangs up if that is not all. It
// compares what it knows with what was, each time an index is behind it.
func (f *client) take(t *rapid.T, was chronicle, atMost int) {
	for done := false; !done; {
		var batch []state.Change
		var err error
		if batch, done, err = f.cursor.Read(nil); err != nil {
			f.hangUp() // too slow
			return
		}
		for _, c := range batch {
			if atMost--; atMost < 0 {
				f.hangUp()
				return
			}
			if c.At.Index > f.at.Index {
				f.compare(t, was, c.At.Index-1)
			}
			f.apply(t, c)
		}
	}
	f.at = f.cursor.At()
	f.compare(t, was, f.at.Index)
}

func (f *client) apply(t *rapid.T, c state.Change) {
	if !f.at.Less(c.At) {
		t.Fatalf("%q: %v came behind %v", f.prefix, c.At, f.at)
	}
	if f.prefix == "" && c.At.N > 0 && (f.at != structs.FeedPosition{Index: c.At.Index, N: c.At.N - 1}) {
		t.Fatalf("all keys: %v came next behind %v", c.At, f.at)
	}
	f.at = c.At
	before, exists := f.keys[c.Entry.Key]
	switch c.Type {
	case structs.FeedPut:
		if c.Entry.ModifyIndex != c.At.Index || exists && cmp.Equal(before, *c.Entry) {
			t.Fatalf("%v: put of %+v over %+v", c.At, *c.Entry, before)
		}
		f.keys[c.Entry.Key] = *c.Entry
	case structs.FeedDelete, structs.FeedExpire:
		before.Value = nil
		if !exists || !cmp.Equal(before, *c.Entry) {
			t.Fatalf("%v: %s of %+v, but there was %+v", c.At, c.Type, *c.Entry, before)
		}
		delete(f.keys, c.Entry.Key)
	}
}

func (f *client) compare(t *rapid.T, was chronicle, index uint64) {
	if diff := cmp.Diff(was.at(index, f.prefix), f.keys); diff != "" {
		t.Fatalf("%q at %d (-was +told):\n%s", f.prefix, index, diff)
	}
}

// Whatever commands come, and wherever followers break off and go on: what they
// are told makes up what is stored, at every index, and they start over only if
// the history cannot help it.
func TestFollowersKnowAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[ab]?(/[ab]?){0,2}`)
		s, m := state.New(), newTwin()
		limit := rapid.SampledFrom([]int{1, 500, 2000, 1 << 20}).Draw(t, "history")
		s.LimitHistory(limit)
		was := chronicle{{0, map[string]structs.DirEntry{}}}
		followers := []*client{}
		for _, prefix := range []string{"", "a", "a/", "/", "b/a", "c"} {
			followers = append(followers, &client{prefix: prefix, keys: map[string]structs.DirEntry{}})
		}
		var index uint64
		restores := 0
		for range rapid.IntRange(1, 15).Draw(t, "batches") {
			w := s.Write()
			for range rapid.IntRange(1, 5).Draw(t, "commands") {
				index += rapid.Uint64Range(1, 2).Draw(t, "step")
				w.Begin(index)
				before := m.clone()
				for range rapid.IntRange(1, 3).Draw(t, "changes") {
					change(t, w, m, index, key)
				}
				if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
					w.Undo()
					m = before
				}
				was = append(was, moment{index, maps.Clone(m.keys)})
			}
			w.Commit()
			if rapid.IntRange(0, 9).Draw(t, "restore") == 0 {
				index++
				restores++
				s = restored(s, index)
				s.LimitHistory(limit)
				was = append(was, moment{index, maps.Clone(m.keys)})
				for _, f := range followers {
					f.hangUp()
				}
			}
			for i, f := range followers {
				switch rapid.IntRange(0, 3).Draw(t, fmt.Sprintf("follower %d", i)) {
				case 0: // sleeps
				case 1:
					f.hangUp()
				default:
					if f.cursor == nil {
						f.connect(t, s)
					}
					f.take(t, was, rapid.IntRange(0, 20).Draw(t, "takes"))
				}
			}
		}
		for _, f := range followers {
			f.hangUp()
			f.connect(t, s)
			f.take(t, was, 1<<30)
			f.hangUp()
			if limit == 1<<20 && f.resets > restores {
				t.Fatalf("%q: started over %d times, with %d restores and room for everything", f.prefix, f.resets, restores)
			}
		}
	})
}

// restored is the store as a server has it that took over a snapshot at an index.
func restored(s *state.Store, index uint64) *state.Store {
	fresh := state.New()
	r, w := s.Read(), fresh.Write()
	for n := range state.Nodes.All(r) {
		state.Nodes.Restore(w, n, n.ModifyIndex)
	}
	for check := range state.Checks.All(r) {
		state.Checks.Restore(w, check, check.ModifyIndex)
	}
	for session := range state.Sessions.All(r) {
		state.Sessions.Restore(w, session, session.ModifyIndex)
	}
	for e := range state.KVs.All(r) {
		row := *e
		if ttl := r.KeyTTL(e.Key); ttl != nil {
			row.TTLIndex = ttl.Index
		}
		state.RestoreKV(w, &row)
	}
	for stone := range state.Tombstones.All(r) {
		state.Tombstones.Restore(w, stone, stone.Index)
	}
	for i := range state.Indexes.All(r) {
		state.Indexes.Restore(w, i, 0)
	}
	w.Commit()
	fresh.BeginHistory(index)
	s.Abandon()
	return fresh
}

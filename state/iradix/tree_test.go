package iradix

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"weak"
)

// FuzzTree does the same to a tree and to a map, and compares all that can be asked.
func FuzzTree(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		keys := makeKeys(r)
		tree, want := New(), map[string]any{}
		type version struct {
			tree *Tree
			want map[string]any
		}
		var old []version
		for range 20 {
			old = append(old, version{tree, maps.Clone(want)})
			before := maps.Clone(want)
			watching := watchAll(tree, keys)
			txn := tree.Txn()
			txn.TrackMutate(true)
			touched := change(t, r, txn, keys, want)
			tree = txn.CommitOnly()
			late := watchAll(old[len(old)-1].tree, keys)
			txn.Notify()
			checkWatches(t, watching, before, want, touched)
			checkWatches(t, late, before, want, touched)
			checkWatches(t, watchAll(old[len(old)-1].tree, keys), before, want, touched)
		}
		old = append(old, version{tree, want})
		for _, v := range old {
			checkForm(t, v.tree.root, "")
			checkTree(t, v.tree, v.want, keys)
		}
	})
}

// makeKeys are keys that are prefixes of each other, or part late.
func makeKeys(r *rand.Rand) (keys []string) {
	letters := []string{"a", "b", "\x00", "\xff", "ab", "abcabcabc"}[:2+r.IntN(5)]
	for range 1 + r.IntN(60) {
		var k strings.Builder
		for range r.IntN(7) {
			k.WriteString(letters[r.IntN(len(letters))])
		}
		keys = append(keys, k.String())
	}
	return keys
}

// change writes to a transaction, and clones it at times. It returns the keys that
// were there and were written to.
func change(t *testing.T, r *rand.Rand, txn *Txn, keys []string, want map[string]any) (touched map[string]bool) {
	t.Helper()
	touched = map[string]bool{}
	type clone struct {
		iterator *Iterator
		want     map[string]any
	}
	var clones []clone
	for range r.IntN(30) {
		k := keys[r.IntN(len(keys))]
		switch what := r.IntN(20); {
		case what < 9:
			v := r.Int()
			had, was := want[k]
			before, replaced := txn.Insert([]byte(k), v)
			if replaced != was || before != had {
				t.Fatalf("Insert(%q): got %v, %v, want %v, %v", k, before, replaced, had, was)
			}
			want[k], touched[k] = v, true
		case what < 14:
			had, was := want[k]
			before, deleted := txn.Delete([]byte(k))
			if deleted != was || before != had {
				t.Fatalf("Delete(%q): got %v, %v, want %v, %v", k, before, deleted, had, was)
			}
			delete(want, k)
			touched[k] = true
		case what == 14:
			any := false
			for other := range want {
				if strings.HasPrefix(other, k) {
					any, touched[other] = true, true
					delete(want, other)
				}
			}
			if got := txn.DeletePrefix([]byte(k)); got != any {
				t.Fatalf("DeletePrefix(%q): got %v, want %v", k, got, any)
			}
		case what == 15:
			c := txn.Clone()
			clones = append(clones, clone{c.Root().Iterator(), maps.Clone(want)})
		case what == 16:
			c := txn.Clone()
			writes := maps.Clone(want)
			c.Insert([]byte(k), -1)
			c.Delete([]byte(keys[0]))
			writes[k] = -1
			delete(writes, keys[0])
			clones = append(clones, clone{c.CommitOnly().Root().Iterator(), writes})
		case what == 17:
			c := txn.Clone()
			if got, ok := c.Get([]byte(k)); got != want[k] || ok != (got != nil) {
				t.Fatalf("Get(%q) of a clone: got %v, want %v", k, got, want[k])
			}
			checkLongestPrefix(t, c.Root(), want, k)
		case what == 18:
			clones = append(clones, clone{txn.Clone().Clone().Root().Iterator(), maps.Clone(want)})
		default:
			clones = append(clones, clone{txn.Root().Iterator(), maps.Clone(want)})
		}
		if got, ok := txn.Get([]byte(k)); got != want[k] || ok != (got != nil) {
			t.Fatalf("Get(%q): got %v, want %v", k, got, want[k])
		}
	}
	for _, c := range clones {
		checkForward(t, c.iterator, c.want, func(string) bool { return true })
	}
	return touched
}

// checkForm says whether a tree is as short as it can be.
func checkForm(t *testing.T, n *node, path string) {
	t.Helper()
	if n.leaf != nil && n.leaf.key != path {
		t.Fatalf("leaf %q at %q", n.leaf.key, path)
	}
	if path != "" && n.leaf == nil && len(n.edges) < 2 {
		t.Fatalf("node %q has %d edges and no leaf", path, len(n.edges))
	}
	for i, e := range n.edges {
		if e.to.prefix == "" || e.to.prefix[0] != e.label || i > 0 && n.edges[i-1].label >= e.label {
			t.Fatalf("node %q: edge %d is %q to %q", path, i, e.label, e.to.prefix)
		}
		checkForm(t, e.to, path+e.to.prefix)
	}
}

func checkTree(t *testing.T, tree *Tree, want map[string]any, keys []string) {
	t.Helper()
	if tree.Len() != len(want) {
		t.Fatalf("Len: got %d, want %d", tree.Len(), len(want))
	}
	checkForward(t, tree.Root().Iterator(), want, func(string) bool { return true })
	for _, k := range keys {
		if got, ok := tree.Txn().Get([]byte(k)); got != want[k] || ok != (got != nil) {
			t.Fatalf("Get(%q): got %v, want %v", k, got, want[k])
		}
		checkLongestPrefix(t, tree.Root(), want, k)
		for _, k := range []string{k, k + "a", strings.TrimSuffix(k, "b")} {
			under := func(other string) bool { return strings.HasPrefix(other, k) }
			it, back := tree.Root().Iterator(), tree.Root().ReverseIterator()
			it.SeekPrefixWatch([]byte(k))
			back.SeekPrefixWatch([]byte(k))
			checkForward(t, it, want, under)
			checkBackward(t, back, want, under)
			it, back = tree.Root().Iterator(), tree.Root().ReverseIterator()
			it.SeekLowerBound([]byte(k))
			back.SeekReverseLowerBound([]byte(k))
			checkForward(t, it, want, func(other string) bool { return other >= k })
			checkBackward(t, back, want, func(other string) bool { return other <= k })
		}
	}
}

func checkLongestPrefix(t *testing.T, v View, want map[string]any, k string) {
	t.Helper()
	var longest *string
	for other := range want {
		if strings.HasPrefix(k, other) && (longest == nil || len(other) > len(*longest)) {
			longest = &other
		}
	}
	key, value, ok := v.LongestPrefix([]byte(k))
	if ok != (longest != nil) || ok && (string(key) != *longest || value != want[*longest]) {
		t.Fatalf("LongestPrefix(%q): got %q, %v, %v, want %v", k, key, value, ok, longest)
	}
}

func sorted(want map[string]any, in func(string) bool) (keys []string) {
	for k := range want {
		if in(k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func checkForward(t *testing.T, it *Iterator, want map[string]any, in func(string) bool) {
	t.Helper()
	checkOrder(t, it.Next, want, sorted(want, in))
}

func checkBackward(t *testing.T, it *ReverseIterator, want map[string]any, in func(string) bool) {
	t.Helper()
	keys := sorted(want, in)
	slices.Reverse(keys)
	checkOrder(t, it.Previous, want, keys)
}

func checkOrder(t *testing.T, next func() ([]byte, any, bool), want map[string]any, keys []string) {
	t.Helper()
	for _, k := range keys {
		key, value, ok := next()
		if !ok || !bytes.Equal(key, []byte(k)) || value != want[k] {
			t.Fatalf("got %q, %v, %v, want %q, %v", key, value, ok, k, want[k])
		}
	}
	for range 2 {
		if key, _, ok := next(); ok {
			t.Fatalf("got %q behind the last of %d", key, len(keys))
		}
	}
}

// watching is a channel for a key, or for all keys with a prefix.
type watching struct {
	key    string
	prefix bool
	ch     <-chan struct{}
}

func watchAll(tree *Tree, keys []string) (all []watching) {
	for _, k := range keys {
		ch, _, _ := tree.Txn().GetWatch([]byte(k))
		all = append(all, watching{k, false, ch},
			watching{k, true, tree.Root().Iterator().SeekPrefixWatch([]byte(k))},
			watching{k, true, tree.Root().ReverseIterator().SeekPrefixWatch([]byte(k))})
	}
	return all
}

// checkWatches says whether all who wait were told of what changed, and no others
// were who wait for a key that was there.
func checkWatches(t *testing.T, all []watching, before, after map[string]any, touched map[string]bool) {
	t.Helper()
	for _, w := range all {
		changed := before[w.key] != after[w.key]
		if w.prefix {
			for k := range merged(before, after) {
				changed = changed || strings.HasPrefix(k, w.key) && before[k] != after[k]
			}
		}
		told := false
		select {
		case <-w.ch:
			told = true
		default:
		}
		if changed && !told {
			t.Fatalf("nobody was told of the change at %q (prefix: %v)", w.key, w.prefix)
		}
		if _, there := before[w.key]; told && there && !w.prefix && !touched[w.key] {
			t.Fatalf("told of a change of %q, which nobody wrote to", w.key)
		}
	}
}

func merged(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// Who waits for a key, or under a prefix, is not told of what happens elsewhere.
func TestOthersAreNotTold(t *testing.T) {
	tree := New()
	for _, k := range []string{"a", "ab", "abc", "b", "ba/1", "ba/2", "c/1", "c/2"} {
		tree, _, _ = tree.Insert([]byte(k), k)
	}
	ab, _, _ := tree.Txn().GetWatch([]byte("ab"))
	ba := tree.Root().Iterator().SeekPrefixWatch([]byte("ba/"))
	missing, _, _ := tree.Txn().GetWatch([]byte("c/3"))
	txn := tree.Txn()
	txn.TrackMutate(true)
	for _, k := range []string{"a", "abc", "abcd", "b", "d", "aa"} {
		txn.Insert([]byte(k), "new")
	}
	txn.CommitOnly()
	txn.Notify()
	for name, ch := range map[string]<-chan struct{}{"ab": ab, "ba/": ba, "c/3": missing} {
		select {
		case <-ch:
			t.Errorf("who waits for %s was told of a change elsewhere", name)
		default:
		}
	}
}

// A transaction that does not track tells nobody.
func TestUntracked(t *testing.T) {
	tree, _, _ := New().Insert([]byte("k"), 1)
	ch, _, _ := tree.Txn().GetWatch([]byte("k"))
	txn := tree.Txn()
	txn.Insert([]byte("k"), 2)
	txn.CommitOnly()
	txn.Notify()
	select {
	case <-ch:
		t.Error("told without TrackMutate")
	default:
	}
}

// What was lent panics where it would show half of what was written since.
func TestStaleClone(t *testing.T) {
	txn := New().Txn()
	txn.Insert([]byte("a"), 1)
	clone, view := txn.Clone(), txn.Root()
	viewOfClone := clone.Root()
	txn.Insert([]byte("b"), 2)
	for name, use := range map[string]func(){
		"Get":                 func() { clone.Get([]byte("a")) },
		"GetWatch":            func() { clone.GetWatch([]byte("a")) },
		"Insert":              func() { clone.Insert([]byte("a"), 3) },
		"Delete":              func() { clone.Delete([]byte("a")) },
		"DeletePrefix":        func() { clone.DeletePrefix([]byte("a")) },
		"Clone":               func() { clone.Clone() },
		"CommitOnly":          func() { clone.CommitOnly() },
		"LongestPrefix":       func() { view.LongestPrefix([]byte("a")) },
		"a clone's view":      func() { viewOfClone.LongestPrefix([]byte("a")) },
		"an iterator":         func() { view.Iterator() },
		"a reverse iterator":  func() { viewOfClone.ReverseIterator() },
		"a clone's last view": func() { clone.Root().Iterator() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			use()
		}()
	}
}

// A batch of puts copies a node once, however often its keys are asked for.
func TestLookupsCopyNothing(t *testing.T) {
	tree := New()
	for i := range 1000 {
		tree, _, _ = tree.Insert(fmt.Appendf(nil, "%03d", i), i)
	}
	txn := tree.Txn()
	txn.Insert([]byte("123"), 1)
	root := txn.root
	for i := range 100 {
		k := fmt.Appendf(nil, "%03d", i)
		txn.Clone().Get(k)
		txn.Clone().Root().LongestPrefix(k)
		txn.Insert(k, -i)
		if txn.root != root {
			t.Fatalf("the root was copied for key %d", i)
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { tree.Root().LongestPrefix([]byte("500")) }); allocs != 0 {
		t.Errorf("a lookup allocates %v times", allocs)
	}
}

// Readers see whole transactions while others are written, and are told of the next.
func TestReadersWhileWriting(t *testing.T) {
	var now atomic.Pointer[Tree]
	keys := makeKeys(rand.New(rand.NewPCG(1, 1)))
	write := func(version int) {
		tree := now.Load()
		if tree == nil {
			tree = New()
		}
		txn := tree.Txn()
		txn.TrackMutate(true)
		for _, k := range keys {
			txn.Insert([]byte(k), version)
		}
		now.Store(txn.CommitOnly())
		txn.Notify()
	}
	write(0)
	const last = 500
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			for seen := 0; seen < last; {
				tree := now.Load()
				key := []byte(keys[i])
				var told <-chan struct{}
				if i%2 == 0 {
					told, _, _ = tree.Txn().GetWatch(key)
				} else {
					told = tree.Root().Iterator().SeekPrefixWatch(key)
				}
				it := tree.Root().Iterator()
				_, first, _ := it.Next()
				for key, v, ok := it.Next(); ok; key, v, ok = it.Next() {
					if v != first {
						t.Errorf("%q has version %v in a tree of version %v", key, v, first)
						return
					}
				}
				if seen = first.(int); seen < last {
					<-told
				}
			}
		})
	}
	for version := range last {
		write(version + 1)
	}
	readers.Wait()
}

// A tree keeps nothing alive but its own values: a leaf is at times in one piece of
// memory with a node, and such a node must not hold on to what was below it.
func TestOldValuesAreForgotten(t *testing.T) {
	type value [64]byte
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		keys := makeKeys(r)
		tree, there := New(), map[string]bool{}
		var all []weak.Pointer[value]
		for range 50 {
			txn := tree.Txn()
			for range r.IntN(2 * len(keys)) {
				k := keys[r.IntN(len(keys))]
				if r.IntN(5) == 0 {
					txn.Delete([]byte(k))
					delete(there, k)
					continue
				}
				v := new(value)
				all = append(all, weak.Make(v))
				txn.Insert([]byte(k), v)
				there[k] = true
			}
			tree = txn.CommitOnly()
		}
		runtime.GC()
		alive := 0
		for _, v := range all {
			if v.Value() != nil {
				alive++
			}
		}
		if alive != len(there) {
			t.Errorf("seed %d: %d values are in memory, of %d keys", seed, alive, len(there))
		}
		runtime.KeepAlive(tree)
	}
}

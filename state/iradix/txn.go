package iradix

import (
	"slices"
	"sync/atomic"
)

// Txn changes a tree. It sees what it has written; others do when they have what
// CommitOnly returns. It is for one goroutine.
type Txn struct {
	root   *node
	size   int
	owner  uint64    // of the nodes that it may change, which nobody else keeps; 0: none
	writes uint64    // for a clone that is attached: those of its original, so far
	from   *Txn      // the original to whose nodes a clone is attached
	ended  *[]*watch // what others have taken the place of; nil if nobody is told
}

var owners atomic.Uint64

// TrackMutate says whether Notify tells of what changes from now on.
func (t *Txn) TrackMutate(track bool) {
	t.ended = nil
	if track {
		t.ended = new([]*watch)
	}
}

// Clone returns a transaction that begins with what this one sees, and does not
// track. One that is only asked for keys costs nothing, and is to be asked before the
// original writes again: then it panics. An iterator or a channel of the clone,
// or a write to it, makes the two independent of each other.
func (t *Txn) Clone() *Txn {
	t.detach()
	if t.owner == 0 {
		return &Txn{root: t.root, size: t.size}
	}
	return &Txn{root: t.root, size: t.size, from: t, writes: t.writes}
}

func (t *Txn) check() {
	if t.from != nil && t.from.writes != t.writes {
		panic("iradix: a clone was used after its original had written again")
	}
}

// detach has the original of a clone copy the nodes of both before it changes them.
func (t *Txn) detach() {
	if t.from == nil {
		return
	}
	t.check()
	t.from.owner, t.from = 0, nil
}

// keep has every node that is there now stay as it is.
func (t *Txn) keep() {
	t.detach()
	t.owner = 0
}

// Root is for reading what the transaction sees.
func (t *Txn) Root() View { return View{t.root, t, t.writes} }

// Get returns the value of a key and whether it is there.
func (t *Txn) Get(k []byte) (any, bool) {
	t.check()
	leaf, _ := t.root.get(text(k))
	if leaf == nil {
		return nil, false
	}
	return leaf.value, true
}

// GetWatch is Get with a channel that is closed when the key changes. If it is not
// there, a change of its neighbours may close the channel too.
func (t *Txn) GetWatch(k []byte) (<-chan struct{}, any, bool) {
	t.keep()
	leaf, n := t.root.get(text(k))
	if leaf == nil {
		return n.below.channel(), nil, false
	}
	return leaf.itself.channel(), leaf.value, true
}

// CommitOnly returns the tree that the transaction sees. It tells nobody.
func (t *Txn) CommitOnly() *Tree {
	t.keep()
	return &Tree{t.root, t.size}
}

// Notify closes the channels of everything that has changed.
func (t *Txn) Notify() {
	if t.ended == nil {
		return
	}
	for _, w := range *t.ended {
		w.end()
	}
	*t.ended = nil
}

// begin comes before every change.
func (t *Txn) begin() {
	t.detach()
	if t.owner == 0 {
		t.owner = owners.Add(1)
	}
	t.writes++
}

func (t *Txn) changed(w *watch) {
	if t.ended != nil {
		*t.ended = append(*t.ended, w)
	}
}

// own returns n if the transaction may change it, else a copy in its place.
// Nobody waits for a node that a transaction may still change.
func (t *Txn) own(n *node) *node {
	if n.owner == t.owner {
		return n
	}
	t.changed(&n.below)
	return &node{owner: t.owner, leaf: n.leaf, prefix: n.prefix, edges: slices.Clone(n.edges)}
}

// Insert gives a key a value. It returns the one it had, and whether it was there.
func (t *Txn) Insert(k []byte, v any) (before any, replaced bool) {
	t.begin()
	key := text(k)
	at, rest := &t.root, key // rest is the way from above *at
	for rest != (*at).prefix {
		n := t.own(*at)
		*at = n
		rest = rest[len(n.prefix):]
		i, ok := n.find(rest[0])
		if !ok {
			if len(n.edges) == 0 { // it may be in one piece with its leaf, see newEnd
				n = &node{owner: t.owner, leaf: n.leaf, prefix: n.prefix}
				*at = n
			}
			n.add(i, newEnd(t.owner, rest, key, v))
			t.size++
			return nil, false
		}
		at = &n.edges[i].to
		if common := commonPrefix((*at).prefix, rest); common < len((*at).prefix) {
			*at = t.split(*at, common, rest[:common])
		}
	}
	return t.setLeaf(at, rest, key, v)
}

// split puts a node in the middle of the way to n, behind its first common bytes,
// which are those of prefix as well.
func (t *Txn) split(n *node, common int, prefix string) *node {
	n = t.own(n)
	n.prefix = n.prefix[common:]
	return &node{owner: t.owner, prefix: prefix, edges: []edge{edgeTo(n)}}
}

// setLeaf gives the node *at a leaf.
func (t *Txn) setLeaf(at **node, prefix, key string, v any) (before any, replaced bool) {
	n := *at
	if n.leaf != nil {
		before, replaced = n.leaf.value, true
		t.changed(&n.leaf.itself)
	} else {
		t.size++
	}
	if len(n.edges) == 0 {
		t.changed(&n.below)
		*at = newEnd(t.owner, prefix, key, v)
		return before, replaced
	}
	n = t.own(n)
	n.prefix, n.leaf = prefix, &leaf{key: key, value: v} // the key's own prefix, so that the memory of an older key is free
	*at = n
	return before, replaced
}

// Delete takes a key out. It returns its value, and whether it was there.
func (t *Txn) Delete(k []byte) (before any, deleted bool) {
	t.check()
	leaf, _ := t.root.get(text(k))
	if leaf == nil {
		return nil, false
	}
	t.begin()
	t.size--
	t.changed(&leaf.itself)
	t.cutRoot(text(k), false)
	return leaf.value, true
}

// DeletePrefix takes all keys out that begin with prefix, and says whether there
// were any.
func (t *Txn) DeletePrefix(prefix []byte) bool {
	t.check()
	all, _ := t.root.under(text(prefix))
	if all == nil || all.leaf == nil && len(all.edges) == 0 {
		return false
	}
	t.begin()
	t.drop(all)
	t.cutRoot(text(prefix), true)
	return true
}

// drop counts what is at n and below it as gone.
func (t *Txn) drop(n *node) {
	t.changed(&n.below)
	if n.leaf != nil {
		t.changed(&n.leaf.itself)
		t.size--
	}
	for _, e := range n.edges {
		t.drop(e.to)
	}
}

func (t *Txn) cutRoot(path string, all bool) {
	if t.root = t.cut(t.root, path, all); t.root == nil {
		t.root = &node{owner: t.owner}
	}
}

// cut returns what is left of n, nil if nothing is, without the key at the end of
// the path from there, or without all that begin with it.
func (t *Txn) cut(n *node, path string, all bool) *node {
	if path == "" && (all || len(n.edges) == 0) {
		t.changed(&n.below)
		return nil
	}
	n = t.own(n)
	if path == "" {
		n.leaf = nil
		return t.shorten(n)
	}
	i, _ := n.find(path[0])
	at := &n.edges[i].to
	if *at = t.cut(*at, path[commonPrefix((*at).prefix, path):], all); *at == nil {
		n.edges = slices.Delete(n.edges, i, i+1)
	}
	return t.shorten(n)
}

// shorten joins n with the one node below it, if there is no other reason for n.
func (t *Txn) shorten(n *node) *node {
	if n.prefix == "" || n.leaf != nil || len(n.edges) > 1 {
		return n
	}
	if len(n.edges) == 0 {
		return nil
	}
	below := t.own(n.edges[0].to)
	below.prefix = n.prefix + below.prefix
	return below
}

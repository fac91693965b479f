// Package iradix is the tree that go-memdb keeps its indexes in. It stands in the
// place of go-immutable-radix (the root go.mod says so), has what go-memdb 1.3.5
// and go-metrics call of that, and differs in what a key costs: less than half the
// memory, and no channel for a node that nobody waits for.
//
// A tree never changes. A transaction makes a new one out of it, and copies the
// nodes on the way to what it changes, each of them once: a node carries the
// number of the transaction that made it, which alone may change it.
//
//	           ""
//	    f /          \ z
//	"foo", leaf    "zip", leaf
//	    b |
//	"bar", leaf
//
// Keys are not copied. Nobody may change one that was given to Insert or came out
// of a tree.
package iradix

import "strings"

// Tree is an immutable map with ordered keys. It is safe for concurrent use.
type Tree struct {
	root *node
	size int
}

// New returns an empty tree.
func New() *Tree { return &Tree{root: &node{}} }

// Len is the number of keys.
func (t *Tree) Len() int { return t.size }

// Root is for reading.
func (t *Tree) Root() View { return View{node: t.root} }

// Txn begins a transaction.
func (t *Tree) Txn() *Txn { return &Txn{root: t.root, size: t.size} }

// Insert returns a tree in which the key has the value, and what Txn.Insert does.
func (t *Tree) Insert(k []byte, v any) (with *Tree, before any, replaced bool) {
	txn := t.Txn()
	before, replaced = txn.Insert(k, v)
	return txn.CommitOnly(), before, replaced
}

// View is a tree at one moment, for reading. That of a transaction is to be used
// before the transaction writes again: then it panics, but for iterators made before.
type View struct {
	node *node
	txn  *Txn // nil for a Tree's
	at   uint64
}

// LongestPrefix finds the longest key that k begins with.
func (v View) LongestPrefix(k []byte) (key []byte, value any, found bool) {
	v.check()
	n, rest := v.node, text(k)
	last := n.leaf
	for rest != "" {
		i, ok := n.find(rest[0])
		if !ok || !strings.HasPrefix(rest, n.edges[i].to.prefix) {
			break
		}
		n = n.edges[i].to
		rest = rest[len(n.prefix):]
		if n.leaf != nil {
			last = n.leaf
		}
	}
	if last == nil {
		return nil, nil, false
	}
	return raw(last.key), last.value, true
}

// Iterator begins before the first key.
func (v View) Iterator() *Iterator {
	v.keep()
	return &Iterator{next: v.node}
}

// ReverseIterator begins behind the last key.
func (v View) ReverseIterator() *ReverseIterator {
	v.keep()
	return &ReverseIterator{next: v.node}
}

func (v View) check() {
	if v.txn == nil {
		return
	}
	v.txn.check()
	if v.txn.writes != v.at {
		panic("iradix: a view was used after its transaction had written again")
	}
}

// keep has what v shows stay as it is.
func (v View) keep() {
	v.check()
	if v.txn != nil {
		v.txn.keep()
	}
}

package iradix

import (
	"strings"
	"unsafe"
)

// node is where keys part, or end.
type node struct {
	below  watch  // whatever is at the node's path or below it
	owner  uint64 // the transaction that may change this node
	leaf   *leaf  // nil if no key ends here
	prefix string // the path from the node above to this one, "" for the root only
	edges  []edge // by label
}

// edge leads to a node whose prefix begins with label.
type edge struct {
	label byte
	to    *node
}

func edgeTo(n *node) edge { return edge{n.prefix[0], n} }

// leaf is a key and its value. It never changes.
type leaf struct {
	itself watch
	key    string
	value  any
}

// newEnd is a node and its leaf in one piece of memory, as most of them are. Such a
// node never gets edges: other nodes may take the leaf over, and keep with it what
// this one leads to.
func newEnd(owner uint64, prefix, key string, value any) *node {
	end := &struct {
		node
		its leaf
	}{
		node{owner: owner, prefix: prefix},
		leaf{key: key, value: value},
	}
	end.leaf = &end.its
	return &end.node
}

// find returns where the edge with this label is, or would be.
func (n *node) find(label byte) (int, bool) {
	low, high := 0, len(n.edges)
	for low < high {
		if middle := int(uint(low+high) / 2); n.edges[middle].label < label {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(n.edges) && n.edges[low].label == label
}

// add puts an edge at i. There is no room for more afterwards: most nodes stay as
// they are, and their memory counts for more than the time of a copy.
func (n *node) add(i int, to *node) {
	edges := make([]edge, len(n.edges)+1)
	copy(edges, n.edges[:i])
	edges[i] = edgeTo(to)
	copy(edges[i+1:], n.edges[i:])
	n.edges = edges
}

// get finds the leaf of exactly this key, nil if there is none, and the deepest
// node that changes when the key comes or goes.
func (n *node) get(key string) (*leaf, *node) {
	for rest := key; rest != ""; {
		i, ok := n.find(rest[0])
		if !ok {
			return nil, n
		}
		n = n.edges[i].to
		if !strings.HasPrefix(rest, n.prefix) {
			return nil, n
		}
		rest = rest[len(n.prefix):]
	}
	return n.leaf, n
}

// under finds the node with all keys that begin with prefix, nil if there are none,
// and the deepest node that changes when one of them does.
func (n *node) under(prefix string) (all, changes *node) {
	for rest := prefix; rest != ""; {
		i, ok := n.find(rest[0])
		if !ok {
			return nil, n
		}
		n = n.edges[i].to
		common := commonPrefix(n.prefix, rest)
		if common < min(len(n.prefix), len(rest)) {
			return nil, n
		}
		rest = rest[common:]
	}
	return n, n
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// text is the key as a string, in the same memory.
func text(k []byte) string { return unsafe.String(unsafe.SliceData(k), len(k)) }

// raw is the string as a key, in the same memory.
func raw(k string) []byte { return unsafe.Slice(unsafe.StringData(k), len(k)) }

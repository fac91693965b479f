package iradix

import "strings"

// Iterator goes through a tree in the order of the keys. It is for one goroutine,
// and is told where to begin at most once.
type Iterator struct {
	next *node    // with all that is below it
	then [][]edge // what comes after that, the last first
}

// SeekPrefixWatch leaves only the keys that begin with prefix. The channel is
// closed when one of them changes or comes; a change of neighbours may close it too.
func (i *Iterator) SeekPrefixWatch(prefix []byte) <-chan struct{} {
	var changes *node
	i.next, changes = i.next.under(text(prefix))
	return changes.below.channel()
}

// SeekLowerBound begins with the first key that is not less than k.
func (i *Iterator) SeekLowerBound(k []byte) {
	n, rest := i.next, text(k)
	i.next = nil
	for {
		if !strings.HasPrefix(rest, n.prefix) || rest == n.prefix {
			if rest <= n.prefix {
				i.next = n
			}
			return
		}
		rest = rest[len(n.prefix):]
		at, ok := n.find(rest[0])
		if !ok {
			i.push(n.edges[at:])
			return
		}
		i.push(n.edges[at+1:])
		n = n.edges[at].to
	}
}

func (i *Iterator) push(edges []edge) {
	if len(edges) > 0 {
		i.then = append(i.then, edges)
	}
}

// Next returns the next key and its value, or false after the last.
func (i *Iterator) Next() (key []byte, value any, ok bool) {
	for {
		n := i.next
		i.next = nil
		if n == nil {
			last := len(i.then) - 1
			if last < 0 {
				return nil, nil, false
			}
			edges := i.then[last]
			i.then = i.then[:last]
			i.push(edges[1:])
			n = edges[0].to
		}
		i.push(n.edges)
		if n.leaf != nil {
			return raw(n.leaf.key), n.leaf.value, true
		}
	}
}

// ReverseIterator goes through a tree from the last key to the first. It is for
// one goroutine, and is told where to begin at most once.
type ReverseIterator struct {
	next *node // with all that is below it
	then []part
}

// part is what comes later: the edges from the last on, then the leaf, if any.
type part struct {
	leaf  *leaf
	edges []edge
}

// SeekPrefixWatch is Iterator's.
func (i *ReverseIterator) SeekPrefixWatch(prefix []byte) <-chan struct{} {
	var changes *node
	i.next, changes = i.next.under(text(prefix))
	return changes.below.channel()
}

// SeekReverseLowerBound begins with the last key that is not greater than k.
func (i *ReverseIterator) SeekReverseLowerBound(k []byte) {
	n, rest := i.next, text(k)
	i.next = nil
	for {
		if !strings.HasPrefix(rest, n.prefix) {
			if n.prefix < rest {
				i.next = n
			}
			return
		}
		rest = rest[len(n.prefix):]
		if rest == "" {
			i.then = append(i.then, part{leaf: n.leaf})
			return
		}
		at, ok := n.find(rest[0])
		i.then = append(i.then, part{n.leaf, n.edges[:at]})
		if !ok {
			return
		}
		n = n.edges[at].to
	}
}

// Previous returns the key before the one that was last, and its value, or false
// before the first.
func (i *ReverseIterator) Previous() (key []byte, value any, ok bool) {
	for {
		if i.next != nil {
			i.then = append(i.then, part{i.next.leaf, i.next.edges})
			i.next = nil
		}
		last := len(i.then) - 1
		if last < 0 {
			return nil, nil, false
		}
		p := &i.then[last]
		if n := len(p.edges); n > 0 {
			i.next, p.edges = p.edges[n-1].to, p.edges[:n-1]
			continue
		}
		leaf := p.leaf
		i.then = i.then[:last]
		if leaf != nil {
			return raw(leaf.key), leaf.value, true
		}
	}
}

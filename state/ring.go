package state

import (
	"sort"

	"praetor/structs"
)

// ring holds numbered changes; new ones come at one end, old ones go at the other.
type ring struct {
	slots       []Change // a power of two of them
	first, next uint64   // numbers of the oldest change and of the one to come
}

func (r *ring) len() int { return int(r.next - r.first) }

func (r *ring) at(n uint64) *Change { return &r.slots[n&uint64(len(r.slots)-1)] }

func (r *ring) push(c Change) {
	if r.len() == len(r.slots) {
		r.resize(max(64, 2*len(r.slots)))
	}
	*r.at(r.next) = c
	r.next++
}

func (r *ring) pop() Change {
	slot := r.at(r.first)
	c := *slot
	*slot = Change{}
	r.first++
	if r.len() < len(r.slots)/8 && len(r.slots) > 1024 {
		r.resize(len(r.slots) / 4)
	}
	return c
}

func (r *ring) resize(n int) {
	old := *r
	r.slots = make([]Change, n)
	for i := old.first; i < old.next; i++ {
		*r.at(i) = *old.at(i)
	}
}

// behind is the number of the oldest change behind a position.
func (r *ring) behind(after structs.FeedPosition) uint64 {
	return r.first + uint64(sort.Search(r.len(), func(i int) bool { return after.Less(r.at(r.first + uint64(i)).At) }))
}

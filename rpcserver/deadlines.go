package rpcserver

import (
	"container/heap"
	"time"
)

// deadlines are names in the order in which their time is up.
type deadlines struct {
	items map[string]*deadline
	order deadlineHeap
	crowd int // number of items from which on it is worth looking for those that nobody needs
}

// deadline is when the time of a name is up.
type deadline struct {
	name  string
	at    time.Time
	mark  uint64 // what name stood for when the time was set
	place int    // in the heap
}

const smallCrowd = 1024

func newDeadlines() *deadlines {
	return &deadlines{items: map[string]*deadline{}, crowd: smallCrowd}
}

// set gives name a time, in place of the one that it had.
func (d *deadlines) set(name string, at time.Time, mark uint64) {
	item := d.items[name]
	if item == nil {
		item = &deadline{name: name}
		d.items[name] = item
		item.at, item.mark = at, mark
		heap.Push(&d.order, item)
		return
	}
	item.at, item.mark = at, mark
	heap.Fix(&d.order, item.place)
}

func (d *deadlines) remove(name string) {
	if item := d.items[name]; item != nil {
		delete(d.items, name)
		heap.Remove(&d.order, item.place)
	}
}

// due removes and returns up to max items whose time is up.
func (d *deadlines) due(now time.Time, max int) (list []*deadline) {
	for len(d.order) > 0 && len(list) < max && !d.order[0].at.After(now) {
		item := heap.Pop(&d.order).(*deadline)
		delete(d.items, item.name)
		list = append(list, item)
	}
	return list
}

// next is how long it takes until the next time is up; ok is false if there is none.
func (d *deadlines) next(now time.Time) (wait time.Duration, ok bool) {
	if len(d.order) == 0 {
		return 0, false
	}
	return d.order[0].at.Sub(now), true
}

// prune drops what is not needed, if there may be much of it: there are twice as
// many items as there were after the last time.
func (d *deadlines) prune(needed func(*deadline) bool) {
	if len(d.items) < d.crowd {
		return
	}
	for name, item := range d.items {
		if !needed(item) {
			d.remove(name)
		}
	}
	d.crowd = max(smallCrowd, 2*len(d.items))
}

type deadlineHeap []*deadline

// Len is part of heap.Interface.
func (h deadlineHeap) Len() int { return len(h) }

// Less is part of heap.Interface. Equal times are told apart, so that those of
// one moment go in order.
func (h deadlineHeap) Less(i, j int) bool {
	if c := h[i].at.Compare(h[j].at); c != 0 {
		return c < 0
	}
	return h[i].mark < h[j].mark || h[i].mark == h[j].mark && h[i].name < h[j].name
}

// Swap is part of heap.Interface.
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is part of heap.Interface.
func (h *deadlineHeap) Push(x any) {
	item := x.(*deadline)
	item.place = len(*h)
	*h = append(*h, item)
}

// Pop is part of heap.Interface.
func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	item := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return item
}

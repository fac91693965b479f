package state

import (
	"errors"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"praetor/structs"
)

// DefaultHistory is how many bytes of changes a store remembers unless told.
const DefaultHistory = 32 << 20

// Why a cursor cannot go on from where it is.
var (
	ErrForgotten = errors.New("the history no longer goes back so far")
	ErrReplaced  = errors.New("the history begins with a snapshot")
)

// Change is one change of one key.
type Change struct {
	Type  structs.FeedEventType
	At    structs.FeedPosition
	Entry *structs.DirEntry // as it is now or, without its value, as it was
}

// cost is what a change counts for in bytes: itself, its row and their slots.
func (c *Change) cost() int {
	return 192 + len(c.Entry.Key) + len(c.Entry.Value) + len(c.Entry.Session)
}

// history is the changes of keys in the order of the log: the newest ones that
// fit the limit, but always the newest one. It is no part of the state: it
// depends on where this server began, and no command reads it.
type history struct {
	mu      sync.RWMutex // guards the fields below
	limit   int          // bytes
	bytes   int          // of the changes that are there
	changes ring
	applied uint64               // raft index of the last command of this store
	base    uint64               // index of the snapshot that the store began with
	lost    structs.FeedPosition // of the newest change that was forgotten

	// Who waits, by prefix, and the lengths of the prefixes, ascending.
	waiters map[string]*waiters
	lengths []prefixLength
}

// waiters are all who wait for changes under one prefix.
type waiters struct {
	cursors int
	round   *round
}

// round ends with the first change under its prefix. Those who wait on it share it.
type round struct {
	fired chan struct{}
	first uint64      // number of that change; read it after fired
	armed atomic.Bool // somebody may wait: if not, there is no need to end it
}

type prefixLength struct{ length, prefixes int }

func newHistory() *history {
	return &history{limit: DefaultHistory, waiters: map[string]*waiters{}}
}

func newRound() *round { return &round{fired: make(chan struct{})} }

// LimitHistory says how many bytes of changes to remember.
func (s *Store) LimitHistory(bytes int) {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	s.history.limit = bytes
	s.history.trim()
}

// BeginHistory says that the store was filled from a snapshot, taken at this
// raft index: of what was before, nothing is known. Changes must not have come.
func (s *Store) BeginHistory(index uint64) {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	s.history.base, s.history.applied = index, index
}

// Applied is the raft index of the last command, or of the snapshot, that made
// this store what it is.
func (s *Store) Applied() uint64 {
	s.history.mu.RLock()
	defer s.history.mu.RUnlock()
	return s.history.applied
}

// collect notes what the command at work has done to keys, in that order.
func (w *Writer) collect() {
	n := uint32(0)
	for i := range w.journal {
		c := &w.journal[i]
		if c.table != KVs.name {
			continue
		}
		change := Change{Type: structs.FeedPut, At: structs.FeedPosition{Index: w.index, N: n}}
		if c.after != nil {
			change.Entry = c.after.(*structs.DirEntry)
		} else {
			was := *c.before.(*structs.DirEntry)
			was.Value = nil
			change.Type, change.Entry = structs.FeedDelete, &was
			if c.expired {
				change.Type = structs.FeedExpire
			}
		}
		w.changes = append(w.changes, change)
		n++
	}
}

// commit makes a transaction visible together with its changes, and wakes those
// who wait for them.
func (h *history) commit(w *Writer) {
	var fired []*round
	h.mu.Lock()
	w.txn.Commit()
	h.applied = max(h.applied, w.index)
	for _, c := range w.changes {
		h.changes.push(c)
		h.bytes += c.cost()
		fired = h.match(fired, c.Entry.Key)
	}
	h.trim()
	h.mu.Unlock()
	for _, r := range fired {
		close(r.fired)
	}
}

// match ends the rounds of all prefixes of the key of the newest change.
func (h *history) match(fired []*round, key string) []*round {
	for _, l := range h.lengths {
		if l.length > len(key) {
			break
		}
		if w := h.waiters[key[:l.length]]; w != nil && w.round.armed.Load() {
			w.round.first = h.changes.next - 1
			fired = append(fired, w.round)
			w.round = newRound()
		}
	}
	return fired
}

// trim forgets the oldest changes until the rest fits.
func (h *history) trim() {
	for h.bytes > h.limit && h.changes.len() > 1 {
		oldest := h.changes.pop()
		h.bytes -= oldest.cost()
		h.lost = oldest.At
	}
}

// reaches returns nil if every change behind the position is there.
func (h *history) reaches(after structs.FeedPosition) error {
	switch {
	case after.Less(structs.After(h.base)):
		return ErrReplaced
	case after.Less(h.lost):
		return ErrForgotten
	}
	return nil
}

func (h *history) countLength(length, by int) {
	i := sort.Search(len(h.lengths), func(i int) bool { return h.lengths[i].length >= length })
	if i == len(h.lengths) || h.lengths[i].length != length {
		h.lengths = slices.Insert(h.lengths, i, prefixLength{length: length})
	}
	if h.lengths[i].prefixes += by; h.lengths[i].prefixes == 0 {
		h.lengths = slices.Delete(h.lengths, i, i+1)
	}
}

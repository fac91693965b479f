package state

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
			if w.expiring {
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

// Cursor reads the changes under a prefix in order, each once. It is for one
// goroutine; Close must follow.
type Cursor struct {
	history   *history
	abandoned <-chan struct{}
	prefix    string
	waiters   *waiters
	round     *round               // the one to wait for once all was read
	next      uint64               // number of the next change to look at
	at        structs.FeedPosition // everything up to here was read
	passed    float64
}

// Begin returns the state as it is now and a cursor for what comes then.
func (s *Store) Begin(prefix string) (*Reader, *Cursor) {
	h := s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	c := s.cursor(prefix)
	c.next, c.at = h.changes.next, structs.After(h.applied)
	return s.Read(), c
}

// Follow returns a cursor for what comes behind a position, which may be ahead
// of the store. If something of it is not known any more, the error is
// ErrForgotten or ErrReplaced.
func (s *Store) Follow(prefix string, after structs.FeedPosition) (*Cursor, error) {
	h := s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.reaches(after); err != nil {
		return nil, err
	}
	c := s.cursor(prefix)
	c.next, c.at = h.changes.behind(after), after
	return c, nil
}

// cursor registers a cursor. The caller holds mu.
func (s *Store) cursor(prefix string) *Cursor {
	h := s.history
	w := h.waiters[prefix]
	if w == nil {
		w = &waiters{round: newRound()}
		h.waiters[prefix] = w
		h.countLength(len(prefix), 1)
	}
	w.cursors++
	w.round.armed.Store(true)
	return &Cursor{history: h, abandoned: s.abandoned, prefix: prefix, waiters: w, round: w.round}
}

// Close frees the cursor.
func (c *Cursor) Close() {
	h := c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.waiters.cursors--; c.waiters.cursors == 0 {
		delete(h.waiters, c.prefix)
		h.countLength(len(c.prefix), -1)
	}
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

// At is the position up to which everything was read.
func (c *Cursor) At() structs.FeedPosition { return c.at }

const (
	maxLook  = 4096     // changes looked at in one go, others wait meanwhile
	maxBatch = 64 << 10 // bytes of changes returned in one go
)

// Read appends the next changes to batch. When it reports done, all was read
// and Wait is next. ErrForgotten says that the cursor was too slow: it is of no
// use any more.
func (c *Cursor) Read(batch []Change) (_ []Change, done bool, err error) {
	h := c.history
	h.mu.RLock()
	defer h.mu.RUnlock()
	if c.next < h.changes.first {
		return batch, false, ErrForgotten
	}
	bytes := 0
	for end := min(h.changes.next, c.next+maxLook); c.next < end && bytes < maxBatch; c.next++ {
		change := h.changes.at(c.next)
		if !c.at.Less(change.At) {
			continue // the position was ahead of the store
		}
		if strings.HasPrefix(change.Entry.Key, c.prefix) {
			batch = append(batch, *change)
			bytes += change.cost()
		}
	}
	if c.next == h.changes.next {
		c.round, done = c.waiters.round, true
		c.round.armed.Store(true)
		c.pass(structs.After(h.applied))
	} else {
		c.pass(h.changes.at(c.next - 1).At)
	}
	return batch, done, nil
}

// pass notes that everything up to a position was read.
func (c *Cursor) pass(at structs.FeedPosition) {
	if c.at.Less(at) {
		c.at = at
	}
}

// Woken says what ended a wait.
type Woken int

// What ends a wait.
const (
	ByChange  Woken = iota // there is something to read
	ByTime                 // the time is up: nothing has changed up to At
	ByAbandon              // another store has taken this one's place
	ByCaller               // the context has ended
)

// Wait waits for the next change under the prefix, or for a tick; changes
// elsewhere cost it nothing.
func (c *Cursor) Wait(ctx context.Context, tick <-chan time.Time) Woken {
	select {
	case <-c.round.fired:
		c.next = max(c.next, c.round.first)
		return ByChange
	case <-c.abandoned:
		return ByAbandon
	case <-ctx.Done():
		return ByCaller
	case <-tick:
	}
	return c.idle()
}

// idle moves on to the store's index if there was no change under the prefix.
func (c *Cursor) idle() Woken {
	c.history.mu.RLock()
	defer c.history.mu.RUnlock()
	if c.round != c.waiters.round {
		c.next = max(c.next, c.round.first)
		return ByChange
	}
	h := c.history
	c.passed = float64(h.changes.next-c.next) / float64(max(1, h.changes.len()))
	c.next = h.changes.next
	c.pass(structs.After(h.applied))
	return ByTime
}

// Passed is how much of the history, as a part of its length, came between the
// last tick and the one before: above 1, who was at the first could not go on
// from there.
func (c *Cursor) Passed() float64 { return c.passed }

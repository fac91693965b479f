package state

import (
	"context"
	"strings"
	"time"

	"praetor/structs"
)

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
	ahead     bool
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

// At is the position up to which everything was read.
func (c *Cursor) At() structs.FeedPosition { return c.at }

// Ahead reports whether the store was not yet as far as the cursor when it last
// read: the cursor may be in the middle of a transaction that is still to come.
func (c *Cursor) Ahead() bool { return c.ahead }

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
	c.ahead = c.at.Index > h.applied
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

package rpcserver

import (
	"context"
	"sort"
	"sync"
	"time"

	"praetor/state"
	"praetor/structs"
)

// A lock delay is left in the state as a raft index, since there is no clock
// there. The leader has one: it notes when it saw which index of the sessions
// table, and says in each request to lock up to which index delays are over. A
// new leader begins with one note for all that was before it, so a delay may
// last longer by what went by before, but is never cut short.

// lockDelays are the leader's notes. The zero value knows nothing, and says of
// no delay that it is over.
type lockDelays struct {
	mu    sync.Mutex // guards the fields below
	store *state.Store
	notes []lockNote // oldest first
}

// lockNote says that by a time everything up to a raft index had happened.
type lockNote struct {
	begun time.Time // when the first of what it covers was seen
	at    time.Time
	index uint64
}

// noteStep is how much time one note may cover: that bounds their number.
const noteStep = 50 * time.Millisecond

// note notes that the sessions table of the store is at the index now.
func (l *lockDelays) note(store *state.Store, index uint64) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store != store {
		l.store, l.notes = store, nil
	}
	if n := len(l.notes); n > 0 {
		last := &l.notes[n-1]
		if last.index >= index {
			return
		}
		if n > 1 && now.Sub(last.begun) < noteStep {
			last.at, last.index = now, index
			return
		}
	}
	l.notes = append(l.notes, lockNote{now, now, index})
	old := 0 // of those whose longest delay is over, the last stands for all
	for old+1 < len(l.notes) && now.Sub(l.notes[old+1].at) >= structs.MaxLockDelay {
		old++
	}
	if old > 0 {
		l.notes = append(l.notes[:0], l.notes[old:]...)
	}
}

// forget is for those who do not lead any more.
func (l *lockDelays) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store, l.notes = nil, nil
}

// over reports whether a delay that was left in the store at the index is over.
func (l *lockDelays) over(store *state.Store, index uint64, delay time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store != store {
		return false
	}
	i := sort.Search(len(l.notes), func(i int) bool { return l.notes[i].index >= index })
	return i < len(l.notes) && time.Since(l.notes[i].at) >= min(delay, structs.MaxLockDelay)
}

// lockDelayOver reports whether nothing delays a lock on a key, and the index to
// put into the request's LockDelayIndex, whatever the client has put there.
func (s *Server) lockDelayOver(r *state.Reader, key string) (index uint64, over bool) {
	delay, index := r.LockDelay(key)
	return index, index == 0 || s.lockDelays.over(s.fsm.Store(), index, delay)
}

// noteLockDelays notes, while we lead, whenever sessions come or go.
func (s *Server) noteLockDelays(ctx context.Context) {
	for ctx.Err() == nil {
		s.noteSessions().Wait(ctx) // it ends with ctx, which the loop looks at
	}
}

// noteSessions makes one note, and returns what to wait on before the next.
func (s *Server) noteSessions() *state.Reader {
	store := s.fsm.Store()
	r := store.Watch()
	s.lockDelays.note(store, r.SessionsIndex())
	return r
}

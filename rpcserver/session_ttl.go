package rpcserver

import (
	"context"
	"sync"
	"time"

	"praetor/state"
	"praetor/structs"
)

// The timers of sessions are the leader's. They are not in the state: a new
// leader, and one whose state was replaced by a snapshot, starts them all anew,
// so that a session never ends early, and late by what had gone by before.

// sessionTimers say when sessions that are not renewed are over. Without a queue,
// while we do not lead, they say nothing.
type sessionTimers struct {
	mu    sync.Mutex // guards the fields below
	queue *deadlines
	store *state.Store        // whose sessions they are
	ended map[string]struct{} // time was up: cannot be renewed, and is about to be destroyed
	wake  chan struct{}       // holds one if another session is the first to end
}

const (
	expiryBatch  = 4096        // sessions or keys that expire before we look again
	expiryAtOnce = 64          // of them that are ended side by side
	expiryRetry  = time.Second // pause before what failed is tried again
)

// lifetime is how long a session lives without being renewed; 0 if it does not expire.
func lifetime(s *structs.Session) time.Duration {
	if s.TTL == "" {
		return 0
	}
	ttl, err := time.ParseDuration(s.TTL)
	if err != nil || ttl <= 0 { // of a snapshot: we let nobody write so
		return 0
	}
	if s.Expiry == structs.ExpiryExact {
		return ttl
	}
	return 2 * ttl
}

// start gives all sessions of a store their whole time.
func (t *sessionTimers) start(store *state.Store) {
	now := time.Now()
	queue := newDeadlines()
	for session := range state.Sessions.All(store.Read()) {
		if life := lifetime(session); life > 0 {
			queue.set(session.ID, now.Add(life), 0)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue, t.store, t.ended, t.wake = queue, store, map[string]struct{}{}, make(chan struct{}, 1)
}

func (t *sessionTimers) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue, t.store, t.ended = nil, nil, nil
}

// renew gives a session its whole time, and reports whether it still could:
// false means that its time was up, or that we do not lead.
func (t *sessionTimers) renew(id string, life time.Duration) bool {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue == nil {
		return false
	}
	if _, ended := t.ended[id]; ended {
		return false
	}
	if item := t.queue.items[id]; item != nil && !item.at.After(now) {
		return false
	}
	t.queue.set(id, now.Add(life), 0)
	if t.queue.order[0].name == id {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// forget is for a session that was destroyed.
func (t *sessionTimers) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue != nil {
		t.queue.remove(id)
		delete(t.ended, id)
	}
}

// left is how long a session has still to live; 0 if we do not know.
func (t *sessionTimers) left(id string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue == nil {
		return 0
	}
	if item := t.queue.items[id]; item != nil {
		return max(time.Until(item.at), 1)
	}
	if _, ended := t.ended[id]; ended {
		return 1
	}
	return 0
}

// due marks sessions of the store whose time is up as ended and returns them
// with their queue, and how long it takes until the next one's is.
func (t *sessionTimers) due(store *state.Store) (ended []string, from *deadlines, wait time.Duration, wake <-chan struct{}) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	wait = time.Hour // for a queue that is empty: wake ends it
	if t.queue == nil || t.store != store {
		return nil, nil, wait, t.wake
	}
	r := store.Read()
	t.queue.prune(func(d *deadline) bool { return r.Session(d.name) != nil })
	for _, item := range t.queue.due(now, expiryBatch) {
		t.ended[item.name] = struct{}{}
		ended = append(ended, item.name)
	}
	if next, ok := t.queue.next(now); ok {
		wait = next
	}
	return ended, t.queue, wait, t.wake
}

// retry has a session that has ended come up as due once more, if the timers
// were not started anew since.
func (t *sessionTimers) retry(from *deadlines, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue == from {
		t.queue.set(id, time.Now().Add(expiryRetry), 0)
	}
}

// expireSessions destroys, while we lead, the sessions whose time is up.
func (s *Server) expireSessions(ctx context.Context) {
	for ctx.Err() == nil {
		store := s.fsm.Store()
		ended, from, wait, wake := s.sessions.due(store)
		if len(ended) > 0 {
			sideBySide(ended, func(id string) { s.expireSession(ctx, store, from, id) })
			continue
		}
		select {
		case <-time.After(wait):
		case <-wake:
		case <-ctx.Done():
		}
	}
}

func (s *Server) expireSession(ctx context.Context, store *state.Store, from *deadlines, id string) {
	s.replacing.share()
	defer s.replacing.unshare()
	if ctx.Err() != nil || s.fsm.Store() != store {
		return
	}
	if store.Read().Session(id) == nil {
		s.sessions.forget(id)
		return
	}
	_, err := s.apply(&structs.SessionRequest{
		Datacenter: s.config.Datacenter, Op: structs.SessionDestroy, Session: structs.Session{ID: id},
	})
	if err == nil {
		s.logger.Debug("session expired", "session", id)
		s.sessions.forget(id)
		return
	}
	if ctx.Err() == nil {
		s.logger.Warn("cannot destroy an expired session, will try again", "session", id, "error", err)
		s.sessions.retry(from, id)
	}
}

// sideBySide runs f for all of list, many at a time, and waits for them: raft
// takes what comes together in one go.
func sideBySide[T any](list []T, f func(T)) {
	work := make(chan T)
	var workers sync.WaitGroup
	for range min(expiryAtOnce, len(list)) {
		workers.Go(func() {
			for item := range work {
				f(item)
			}
		})
	}
	for _, item := range list {
		work <- item
	}
	close(work)
	workers.Wait()
}

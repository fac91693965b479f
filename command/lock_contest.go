package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
)

// contest is a lock that several want, in the form that Consul's clients know.
type contest interface {
	// look reads who holds the lock: whether we do, and else whether we may try.
	look(q *api.QueryOptions) (ours, free bool, meta *api.QueryMeta, err error)
	// take tries to get what look found free.
	take(q *api.WriteOptions) (bool, error)
	// fence is the key that is locked while we hold the lock, and its LockIndex.
	fence() (key string, index uint64)
	release(ctx context.Context) error
}

// contend takes part in c until the lock is ours.
func (l *locking) contend(ctx context.Context, c contest) error {
	q := &api.QueryOptions{}
	refused, failed := 0, 0
	for {
		ours, free, err := l.lookPatiently(ctx, c, q)
		switch {
		case err != nil:
			return fmt.Errorf("acquiring the lock: %w", err)
		case ours:
			return nil
		case !free:
			refused = 0
			continue
		case refused > 1: // not a race that we lost, but a lock delay
			if err := pause(ctx, rand.N(l.times.retry)); err != nil {
				return err
			}
		}
		q.WaitIndex = 0
		took, err := c.take((&api.WriteOptions{}).WithContext(ctx))
		switch {
		case err == nil && took:
			continue // to see it, and under which index
		case err == nil:
			failed = 0
		case failed >= l.patience || !retryable(err):
			return fmt.Errorf("acquiring the lock: %w", err)
		default:
			failed++
		}
		refused++
	}
}

// monitor returns why the lock is lost, once it is.
func (l *locking) monitor(ctx context.Context, c contest) error {
	q := &api.QueryOptions{RequireConsistent: true}
	for {
		ours, _, err := l.lookPatiently(ctx, c, q)
		switch {
		case err != nil:
			return fmt.Errorf("it could not be watched: %w", err)
		case !ours:
			return errors.New("it was taken away")
		}
	}
}

// lookPatiently looks, and leaves in q what the next look waits for. It bears
// with a server in trouble as often as it was told to.
func (l *locking) lookPatiently(ctx context.Context, c contest, q *api.QueryOptions) (ours, free bool, err error) {
	for failed := 0; ; failed++ {
		attempt, cancel := context.WithTimeoutCause(ctx, 2*l.times.ttl, errSilent)
		q.WaitTime = l.times.ttl
		ours, free, meta, err := c.look(q.WithContext(attempt))
		if err != nil && context.Cause(attempt) == errSilent {
			err = fmt.Errorf("%w: %w", errSilent, err)
		}
		cancel()
		if err == nil {
			q.WaitIndex = nextIndex(q.WaitIndex, meta.LastIndex)
			return ours, free, nil
		}
		q.WaitIndex = 0
		if ctx.Err() != nil || failed >= l.patience || !retryable(err) {
			return false, false, err
		}
		l.tell("Asking again in %v: %v", l.times.retry, err)
		if err := pause(ctx, l.times.retry); err != nil {
			return false, false, err
		}
	}
}

// nextIndex is what a blocking read waits for after one that waited for last
// returned index: one that went back belongs to another history.
func nextIndex(last, index uint64) uint64 {
	if index < last {
		return 0
	}
	return index
}

// retryable tells a server in trouble from one that says no.
func retryable(err error) bool {
	if code, _ := status(err); code != 0 {
		return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
	}
	var trouble net.Error
	return errors.As(err, &trouble) || errors.Is(err, io.ErrUnexpectedEOF)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// mutex is a key that one session at a time can lock. The key stays when it is
// free: with it would go its LockIndex, and with that the meaning of a fence.
type mutex struct {
	kv           *api.KV
	key, session string
	index        uint64
}

func (m *mutex) look(q *api.QueryOptions) (ours, free bool, meta *api.QueryMeta, err error) {
	pair, meta, err := m.kv.Get(m.key, q)
	switch {
	case err != nil || pair == nil:
		return false, true, meta, err
	case pair.Flags != api.LockFlagValue:
		return false, false, nil, conflict(m.key, pair.Flags)
	case pair.Session == m.session:
		m.index = pair.LockIndex
	}
	return pair.Session == m.session, pair.Session == "", meta, nil
}

// conflict is the error about a key that is not the kind of lock we expect.
func conflict(key string, flags uint64) error {
	use := "is not a lock's"
	switch flags {
	case api.LockFlagValue:
		use = "belongs to a lock for one holder: -n must be 1"
	case api.SemaphoreFlagValue:
		use = "belongs to a lock for several holders: -n must say how many"
	}
	return failf("Error! The key %s %s. Another PREFIX would do.", key, use)
}

func (m *mutex) pair() *api.KVPair {
	return &api.KVPair{Key: m.key, Session: m.session, Flags: api.LockFlagValue}
}

func (m *mutex) take(q *api.WriteOptions) (bool, error) {
	took, _, err := m.kv.Acquire(m.pair(), q)
	return took, err
}

func (m *mutex) fence() (string, uint64) { return m.key, m.index }

func (m *mutex) release(ctx context.Context) error {
	held, _, err := m.kv.Release(m.pair(), (&api.WriteOptions{}).WithContext(ctx))
	if err == nil && !held {
		return errNotHeld
	}
	return err
}

// errNotHeld is what a release may find: the lock was lost, nobody knows when.
var errNotHeld = errors.New("it was not held any more")

// semaphore is a lock for several holders: each contender locks a key of its
// own under prefix, so that all see whether it lives, and PREFIX/.lock lists the
// sessions of those who hold.
type semaphore struct {
	kv              *api.KV
	prefix, session string
	limit           int

	entered bool         // our own key is there
	index   uint64       // its LockIndex
	list    *api.KVPair  // PREFIX/.lock as look saw it
	holders semaphoreRow // what it holds, without the dead
}

// semaphoreRow is the value of PREFIX/.lock.
type semaphoreRow struct {
	Limit   int
	Holders map[string]bool
}

func (s *semaphore) listKey() string { return s.prefix + "/.lock" }
func (s *semaphore) ownKey() string  { return s.prefix + "/" + s.session }

func (s *semaphore) look(q *api.QueryOptions) (ours, free bool, meta *api.QueryMeta, err error) {
	pairs, meta, err := s.kv.List(s.prefix+"/", q)
	if err != nil {
		return false, false, nil, err
	}
	s.list, s.holders, s.index = &api.KVPair{Key: s.listKey(), Flags: api.SemaphoreFlagValue}, semaphoreRow{Limit: s.limit}, 0
	alive := map[string]bool{}
	for _, p := range pairs {
		switch p.Key {
		case s.listKey():
			s.list = p
		case s.ownKey():
			if p.Session == s.session {
				s.index = p.LockIndex
			}
		}
		alive[p.Session] = p.Session != ""
	}
	switch {
	case s.list.Flags != api.SemaphoreFlagValue:
		return false, false, nil, conflict(s.list.Key, s.list.Flags)
	case s.entered && s.index == 0:
		return false, false, nil, failf("Error! The session's own key %s is gone, and its place among the holders with it", s.ownKey())
	}
	if len(s.list.Value) > 0 {
		if err := json.Unmarshal(s.list.Value, &s.holders); err != nil {
			return false, false, nil, failf("Error! The list of holders in %s cannot be read: %v", s.list.Key, err)
		}
	}
	if s.holders.Limit != s.limit {
		return false, false, nil, failf("Error! The lock under %s is for %d holders, not for %d: -n must be the same everywhere",
			s.prefix, s.holders.Limit, s.limit)
	}
	for session := range s.holders.Holders {
		if !alive[session] {
			delete(s.holders.Holders, session)
		}
	}
	return s.holders.Holders[s.session], len(s.holders.Holders) < s.limit, meta, nil
}

func (s *semaphore) take(q *api.WriteOptions) (bool, error) {
	if !s.entered {
		own := &api.KVPair{Key: s.ownKey(), Session: s.session, Flags: api.SemaphoreFlagValue}
		took, _, err := s.kv.Acquire(own, q)
		s.entered = took
		return false, err
	}
	if s.holders.Holders == nil {
		s.holders.Holders = map[string]bool{}
	}
	s.holders.Holders[s.session] = true
	return s.write(q)
}

// write replaces the list of holders, if nobody else did since look.
func (s *semaphore) write(q *api.WriteOptions) (bool, error) {
	value, err := json.Marshal(s.holders)
	if err != nil {
		return false, err
	}
	s.list.Value = value
	done, _, err := s.kv.CAS(s.list, q)
	return done, err
}

func (s *semaphore) fence() (string, uint64) { return s.ownKey(), s.index }

// release takes us off the list. The last one removes it, as Consul does: the
// keys that fences name are those of sessions, which never come again.
func (s *semaphore) release(ctx context.Context) error {
	q := (&api.WriteOptions{}).WithContext(ctx)
	for left := false; !left; {
		ours, _, _, err := s.look((&api.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return err
		}
		if !ours {
			return errNotHeld
		}
		delete(s.holders.Holders, s.session)
		write := s.write
		if len(s.holders.Holders) == 0 {
			write = func(q *api.WriteOptions) (bool, error) {
				done, _, err := s.kv.DeleteCAS(s.list, q)
				return done, err
			}
		}
		if left, err = write(q); err != nil {
			return err
		}
	}
	_, err := s.kv.Delete(s.ownKey(), q)
	return err
}

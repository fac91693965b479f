package command

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// lease is a session that is kept alive, with what is certain about its life.
// The servers count a TTL from when a renewal reaches them, which is after it
// was sent: so the session lives at least until one TTL after the start of the
// last renewal that succeeded. A change of leader only makes that longer.
type lease struct {
	api     *api.Session
	times   lockTimes
	session string

	mu    sync.Mutex // guards until
	until time.Time
}

// newLease makes a session. Where that took long, it is renewed at once.
func newLease(ctx context.Context, client *api.Client, times lockTimes, name, behavior string) (*lease, error) {
	q := (&api.WriteOptions{}).WithContext(ctx)
	start := time.Now()
	l := &lease{api: client.Session(), times: times, until: start.Add(times.ttl)}
	var err error
	l.session, _, err = l.api.Create(&api.SessionEntry{Name: name, TTL: times.ttl.String(), Behavior: behavior}, q)
	for err == nil && time.Since(start) > times.ttl/3 {
		start = time.Now()
		var entry *api.SessionEntry
		if entry, _, err = l.api.Renew(l.session, q); err == nil && entry == nil {
			err = errGone
		}
		l.until = start.Add(times.ttl)
	}
	return l, err
}

// certain is until when the session lives for certain.
func (l *lease) certain() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// stopBy is when a child must be asked to end, so that there is time for it to
// do so.
func (l *lease) stopBy() time.Time { return l.certain().Add(-l.times.margin - l.times.grace) }

// killBy is when a child that is asked to end now must be killed.
func (l *lease) killBy() time.Time {
	last, polite := l.certain().Add(-l.times.margin), time.Now().Add(l.times.grace)
	if polite.Before(last) {
		return polite
	}
	return last
}

// keep renews the session until ctx ends, or it says through lose that this
// does not work.
func (l *lease) keep(ctx context.Context, lose context.CancelCauseFunc) {
	wait, failed := l.times.ttl/3, errPaused
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(l.stopBy())):
		case <-time.After(wait):
		}
		start := time.Now()
		if !start.Before(l.stopBy()) {
			lose(fmt.Errorf("its session could not be renewed in time: %w", failed))
			return
		}
		attempt, cancel := context.WithDeadlineCause(ctx, earlier(start.Add(l.times.ttl/3), l.stopBy()), errSilent)
		entry, _, err := l.api.Renew(l.session, (&api.WriteOptions{}).WithContext(attempt))
		if context.Cause(attempt) == errSilent {
			err = errSilent
		}
		cancel()
		switch {
		case err != nil:
			wait, failed = l.times.retry, err
		case entry == nil:
			lose(errGone)
			return
		default:
			l.mu.Lock()
			l.until = start.Add(l.times.ttl)
			l.mu.Unlock()
			wait, failed = l.times.ttl/3, errPaused
		}
	}
}

var (
	errGone   = errors.New("its session is gone")
	errSilent = errors.New("the server does not answer")
	errPaused = errors.New("this process was paused") // if no renewal was even tried
)

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// end destroys the session, if the server can be reached.
func (l *lease) end() {
	ctx, cancel := context.WithTimeout(context.Background(), l.times.grace)
	defer cancel()
	_, _ = l.api.Destroy(l.session, (&api.WriteOptions{}).WithContext(ctx)) // else it expires
}

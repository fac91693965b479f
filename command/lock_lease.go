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

func newLease(client *api.Client, times lockTimes, name, behavior string) (*lease, error) {
	l := &lease{api: client.Session(), times: times, until: time.Now().Add(times.ttl)}
	var err error
	l.session, _, err = l.api.Create(&api.SessionEntry{Name: name, TTL: times.ttl.String(), Behavior: behavior}, nil)
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

// over says that nothing is certain any more.
func (l *lease) over() bool { return time.Now().After(l.certain()) }

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
			lose(errors.New("its session is gone"))
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

package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"praetor/structs"
	"praetor/testutil/history"
)

// follower follows a change feed from server to server, by the rule of
// docs/watch.md: it keeps the last position, forgets it on a reset, and goes on
// behind it on the next connection.
type follower struct {
	*run
	rng    *rand.Rand
	prefix string
	feed   *history.Feed
	at     structs.FeedPosition
	left   int // events until the connection breaks
	marker string
	marked chan struct{} // closes when the marker was told
}

// errBroken ends a connection.
var errBroken = errors.New("the connection broke")

// reconnect is how long a follower rests between two connections.
const reconnect = 50 * time.Millisecond

// followers starts the followers, and returns what lets them hear of
// everything and then ends them.
func (r *run) followers() (finish func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var all []*follower
	for i := range r.Followers {
		prefix := r.Prefix
		if i%2 == 1 {
			prefix += "g/"
		}
		f := &follower{run: r, prefix: prefix, rng: rand.New(rand.NewPCG(r.Seed, uint64(1000+i))),
			marker: fmt.Sprint(prefix, history.Marker, i), marked: make(chan struct{})}
		f.feed = r.rec.Feed(fmt.Sprint("follower ", i), prefix)
		all = append(all, f)
		running.Go(func() { f.follow(ctx, i) })
	}
	return func() {
		r.mark(all)
		cancel()
		running.Wait()
	}
}

// mark writes the markers and waits until they were told.
func (r *run) mark(all []*follower) {
	ctx, cancel := context.WithTimeout(context.Background(), r.Patience)
	defer cancel()
	w := r.newWorker(r.Clients)
	defer w.hangUp()
	for _, f := range all {
		for ctx.Err() == nil {
			if _, ok := w.write(ctx, history.Op{Kind: history.Put, Key: f.marker, Value: w.value()}, nil, 0); ok {
				break
			}
			pauseFor(ctx, reconnect)
		}
	}
	for _, f := range all {
		select {
		case <-f.marked:
		case <-ctx.Done():
			r.wrong(fmt.Errorf("%s was not told of a write to %s within %v", f.feed, f.marker, r.Patience))
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (f *follower) follow(ctx context.Context, at int) {
	for ; ctx.Err() == nil; at++ {
		server := &f.Servers[at%len(f.Servers)]
		if server.Follow == nil {
			continue
		}
		f.left = 5 + f.rng.IntN(60)
		f.feed.Connect(server.Name, f.at)
		err := server.Follow(ctx, &structs.FeedRequest{Prefix: f.prefix, After: f.at, Consistent: f.rng.IntN(4) == 0}, f.take)
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, errBroken):
		default:
			switch code := structs.CodeOf(err); code {
			case structs.NoLeader, structs.NotReady, structs.Leaving, structs.Unreachable, structs.Unclear:
			default:
				f.wrong(fmt.Errorf("%s at %s: code %d: %w", f.feed, server.Name, code, err))
			}
		}
		pauseFor(ctx, reconnect)
	}
}

// take records events, as many as come through before the connection breaks.
func (f *follower) take(events []structs.FeedEvent) error {
	whole := len(events) <= f.left
	if !whole {
		events = events[:f.left]
	}
	f.left -= len(events)
	f.feed.Take(events)
	for i := range events {
		switch e := &events[i]; {
		case e.Type == structs.FeedReset:
			f.at = structs.FeedPosition{}
		case e.At != (structs.FeedPosition{}):
			f.at = e.At
		}
		if e := events[i].Entry; e != nil && strings.HasPrefix(e.Key, f.marker) {
			select {
			case <-f.marked:
			default:
				close(f.marked)
			}
		}
	}
	if !whole {
		return errBroken
	}
	return nil
}

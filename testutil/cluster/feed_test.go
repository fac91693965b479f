package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// follower follows a feed from server to server and keeps the keys as it is
// told. It complains about what no client should see.
type follower struct {
	prefix string
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards the fields below
	at     structs.FeedPosition
	keys   map[string]*structs.DirEntry
	told   int // changes
	resets []string
	synced int
	ticks  []time.Time // when progress came
	wrong  []error
}

// follow starts a follower at a place; pick says where to connect next.
func follow(prefix string, after structs.FeedPosition, pick func() *cluster.Node) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{prefix: prefix, at: after, cancel: cancel, done: make(chan struct{}), keys: map[string]*structs.DirEntry{}}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			if n := pick(); n != nil && n.Server != nil {
				f.connect(ctx, n.Server)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return f
}

func (f *follower) connect(ctx context.Context, s *rpcserver.Server) {
	feed, err := s.OpenFeed(ctx, &structs.FeedRequest{Prefix: f.prefix, After: f.at})
	if err == nil {
		err = feed.Run(ctx, f.take)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && ctx.Err() == nil && !structs.IsCode(err, structs.NoLeader) && !structs.IsCode(err, structs.Leaving) {
		f.wrong = append(f.wrong, err)
	}
}

func (f *follower) take(events []structs.FeedEvent) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range events {
		f.event(&events[i])
	}
	return nil
}

func (f *follower) complain(format string, args ...any) {
	if len(f.wrong) < 10 {
		f.wrong = append(f.wrong, fmt.Errorf(format, args...))
	}
}

func (f *follower) event(e *structs.FeedEvent) {
	if e.At.Index > 0 {
		if e.At.Less(f.at) || e.Entry != nil && e.At == f.at {
			f.complain("%s at %v came behind %v", e.Type, e.At, f.at)
		}
		f.at = e.At
	}
	switch e.Type {
	case structs.FeedReset:
		f.resets = append(f.resets, e.Reason)
		f.at = structs.FeedPosition{}
		clear(f.keys)
	case structs.FeedPut:
		if !strings.HasPrefix(e.Entry.Key, f.prefix) {
			f.complain("told of %s", e.Entry.Key)
		}
		if before := f.keys[e.Entry.Key]; before != nil && before.ModifyIndex >= e.Entry.ModifyIndex {
			f.complain("%v: put of %s at %d over %d", e.At, e.Entry.Key, e.Entry.ModifyIndex, before.ModifyIndex)
		}
		f.keys[e.Entry.Key] = e.Entry
	case structs.FeedDelete, structs.FeedExpire:
		if f.keys[e.Entry.Key] == nil {
			f.complain("%v: %s of %s, which is not there", e.At, e.Type, e.Entry.Key)
		}
		delete(f.keys, e.Entry.Key)
	case structs.FeedSynced:
		f.synced++
	case structs.FeedProgress:
		f.ticks = append(f.ticks, time.Now())
	}
	if e.Entry != nil && e.At.Index > 0 {
		f.told++
	}
}

// await waits until the follower knows exactly what a server has.
func (f *follower) await(t testing.TB, n *cluster.Node) {
	t.Helper()
	testutil.Eventually(t, time.Minute, "the follower of "+f.prefix, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		stored := 0
		for e := range n.FSM().Store().Read().KVsUnder(f.prefix) {
			stored++
			if got := f.keys[e.Key]; got == nil || got.ModifyIndex != e.ModifyIndex || string(got.Value) != string(e.Value) {
				return fmt.Errorf("%s is stored as %+v and was told as %+v", e.Key, e, got)
			}
		}
		if stored != len(f.keys) {
			return fmt.Errorf("%d keys are stored, %d were told", stored, len(f.keys))
		}
		return nil
	})
}

// finish hangs up, and fails if there was anything wrong.
func (f *follower) finish(t testing.TB) {
	t.Helper()
	f.cancel()
	<-f.done
	for _, err := range f.wrong {
		t.Errorf("follower of %q: %v", f.prefix, err)
	}
}

func (f *follower) seen() (told, resets, synced int, at structs.FeedPosition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told, len(f.resets), f.synced, f.at
}

func always(n *cluster.Node) func() *cluster.Node { return func() *cluster.Node { return n } }

// taking goes from one server to the next.
func taking(c *cluster.Cluster) func() *cluster.Node {
	turn := 0
	return func() *cluster.Node {
		turn++
		up := c.Up()
		return up[turn%len(up)]
	}
}

// 100,000 changes, three changes of leader and a restore: whoever follows misses
// nothing, wherever it is connected.
func TestFeedMissesNothing(t *testing.T) {
	t.Parallel()
	changes := 100_000
	if testing.Short() {
		changes = 10_000
	}
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k/first", "1")
		var followers []*follower
		for _, prefix := range []string{"", "k/", "k/7", "k/7/1", "elsewhere"} {
			followers = append(followers, follow(prefix, structs.FeedPosition{}, taking(c)))
		}
		time.Sleep(time.Second)
		archive := save(t, c.Leader())
		const phases = 4
		var sure, unclear atomic.Int64
		for phase := range phases {
			var writers sync.WaitGroup
			for i := range 64 {
				kv := c.Client().KV()
				writers.Go(func() {
					for j := range changes / phases / 64 {
						key := fmt.Sprintf("k/%d/%d", i, j%50)
						var err error
						if j%50 == 49 && j%100 < 50 {
							err = kv.DeleteTree(context.Background(), fmt.Sprintf("k/%d/", i)) // deletes 49
						} else {
							err = kv.Put(context.Background(), key, fmt.Append(nil, phase, j))
						}
						if err == nil {
							sure.Add(1)
						} else {
							unclear.Add(1)
							time.Sleep(50 * time.Millisecond)
						}
					}
				})
			}
			time.Sleep(20 * time.Millisecond)
			if phase < 3 {
				leader := c.Leader()
				leader.Crash()
				time.Sleep(5 * time.Second)
				writers.Wait()
				leader.Start()
				time.Sleep(5 * time.Second)
			} else {
				writers.Wait()
			}
			c.Agree()
			for _, f := range followers {
				f.await(t, c.Leader())
			}
			if phase == 1 {
				if err := restore(c.Followers()[0], archive); err != nil {
					t.Fatal(err)
				}
				c.Agree()
				for _, f := range followers {
					f.await(t, c.Leader())
				}
			}
		}
		told, resets, _, _ := followers[0].seen()
		t.Logf("%d writes sure, %d unclear; all keys: %d changes told, resets: %q", sure.Load(), unclear.Load(), told, followers[0].resets)
		if resets > 3 {
			t.Errorf("%d resets, want the first, the restore's, and at most one more", resets)
		}
		for _, f := range followers {
			f.finish(t)
		}
		for _, n := range c.Nodes {
			if got := n.InFlight(); got != 0 {
				t.Errorf("%d methods in flight when all have hung up", got)
			}
		}
	})
}

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	ticks  int // how often progress came
	turns  map[string]bool
	breaks int // a connection breaks after so many changes; 0: never
	wrong  []error
}

// errBroken ends a connection.
var errBroken = errors.New("the connection broke")

// follow starts a follower at a place; pick says where to connect next.
func follow(prefix string, after structs.FeedPosition, pick func() *rpcserver.Server) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{prefix: prefix, at: after, cancel: cancel, done: make(chan struct{}),
		keys: map[string]*structs.DirEntry{}, turns: map[string]bool{}, breaks: 997}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			f.connect(ctx, pick())
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
	if err != nil && ctx.Err() == nil && !errors.Is(err, errBroken) && !structs.IsCode(err, structs.NoLeader) && !structs.IsCode(err, structs.Leaving) {
		f.wrong = append(f.wrong, err)
	}
}

func (f *follower) take(events []structs.FeedEvent) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range events {
		f.event(&events[i])
		if events[i].Entry != nil && events[i].At.Index > 0 && f.breaks > 0 && f.told%f.breaks == 0 {
			return errBroken // what else is in the batch is lost
		}
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
		if f.prefix == "" && e.Entry != nil && e.At.N > 0 && (f.at != structs.FeedPosition{Index: e.At.Index, N: e.At.N - 1}) {
			f.complain("%v came next behind %v", e.At, f.at)
		}
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
		if strings.HasPrefix(e.Entry.Key, "turn/") {
			f.turns[e.Entry.Key+"="+string(e.Entry.Value)] = true
		}
	case structs.FeedDelete, structs.FeedExpire:
		if f.keys[e.Entry.Key] == nil {
			f.complain("%v: %s of %s, which is not there", e.At, e.Type, e.Entry.Key)
		}
		delete(f.keys, e.Entry.Key)
	case structs.FeedSynced:
		f.synced++
	case structs.FeedProgress:
		f.ticks++
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

func (f *follower) progress() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ticks
}

func always(n *cluster.Node) func() *rpcserver.Server {
	s := n.Server
	return func() *rpcserver.Server { return s }
}

// circle is the servers that followers go through, one after another.
type circle struct {
	servers atomic.Pointer[[]*rpcserver.Server]
}

// update makes it all that run.
func (r *circle) update(c *cluster.Cluster) {
	var servers []*rpcserver.Server
	for _, n := range c.Up() {
		servers = append(servers, n.Server)
	}
	r.servers.Store(&servers)
}

func (r *circle) next() func() *rpcserver.Server {
	turn := 0
	return func() *rpcserver.Server {
		turn++
		servers := *r.servers.Load()
		return servers[turn%len(servers)]
	}
}

// 100,000 changes, three changes of leader and a restore, with connections that
// break all the time: whoever follows misses nothing, wherever it is connected.
// With the race detector, which makes them ten times as dear, it is 20,000: make
// long has them all.
func TestFeedMissesNothing(t *testing.T) {
	t.Parallel()
	const (
		phases  = 4
		writers = 16
	)
	turns, atLeast := 25, 100_000 // of each writer in each phase: a transaction of 64 changes
	if raceDetector {
		turns, atLeast = 5, 19_000
	}
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("first", "1")
		var followers []*follower
		var up circle
		up.update(c)
		for _, prefix := range []string{"", "k/", "k/7", "k/7/1", "turn/", "elsewhere"} {
			followers = append(followers, follow(prefix, structs.FeedPosition{}, up.next()))
		}
		time.Sleep(time.Second)
		archive := save(t, c.Leader())
		var mu sync.Mutex // guards sure
		sure := map[string]bool{}
		for phase := range phases {
			var working sync.WaitGroup
			for i := range writers {
				cl := c.Client()
				working.Go(func() {
					for turn := range turns {
						name := fmt.Sprintf("turn/%d", i)
						value := fmt.Sprintf("%d.%d", phase, turn)
						ops := []structs.TxnOp{kvOp(structs.KVSet, name, value)}
						if turn%5 == 4 {
							ops = append(ops, kvOp(structs.KVDeleteTree, fmt.Sprintf("k/%d/", i), ""))
						}
						for j := len(ops); j < 64; j++ {
							ops = append(ops, kvOp(structs.KVSet, fmt.Sprintf("k/%d/%d", i, j), value))
						}
						if _, err := cl.Txn().Apply(context.Background(), ops...); err != nil {
							time.Sleep(50 * time.Millisecond)
							continue
						}
						mu.Lock()
						sure[name+"="+value] = true
						mu.Unlock()
						time.Sleep(20 * time.Millisecond)
					}
				})
			}
			time.Sleep(100 * time.Millisecond)
			var down *cluster.Node
			if phase > 0 {
				down = c.Leader()
				down.Crash()
				up.update(c)
			}
			working.Wait()
			if down != nil {
				down.Start()
				up.update(c)
				time.Sleep(5 * time.Second)
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
		for _, f := range followers {
			f.finish(t)
			t.Logf("%q: %d changes told, %d transactions, resets %q", f.prefix, f.told, len(f.turns), f.resets)
			if len(f.resets) != 2 {
				t.Errorf("%q: got %d resets, want one at first and one for the restore", f.prefix, len(f.resets))
			}
		}
		if all := followers[0]; all.told < atLeast {
			t.Errorf("only %d changes were told, want %d", all.told, atLeast)
		}
		for key := range sure {
			for _, i := range []int{0, 4} {
				if !followers[i].turns[key] {
					t.Errorf("follower of %q was not told of %s", followers[i].prefix, key)
				}
			}
		}
		for _, n := range c.Nodes {
			if got := n.InFlight(); got != 0 {
				t.Errorf("%d methods in flight when all have hung up", got)
			}
		}
	})
}

// Nothing is lost and nothing told twice when a feed is idle: it says so now and
// then, with a place that stays in a history which others fill.
func TestFeedProgress(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("a", "1")
		c.Agree()
		quiet := follow("a", structs.FeedPosition{}, always(c.Followers()[0]))
		time.Sleep(2 * time.Minute)
		if n := quiet.progress(); n < 4 || n > 5 {
			t.Errorf("progress came %d times in 2 minutes, want every 22.5 to 30 s", n)
		}
		// Each second brings a tenth of a history of 1 MiB.
		for _, n := range c.Nodes {
			n.FSM().LimitHistory(1 << 20)
		}
		for i := range 60 {
			c.Put(fmt.Sprintf("b%d", i), strings.Repeat("x", 100<<10))
			time.Sleep(time.Second)
			_, _, _, at := quiet.seen()
			if i < 35 {
				continue // up to now it did not know
			}
			if _, err := c.Followers()[0].FSM().Store().Follow("a", at); err != nil {
				t.Fatalf("after %d writes elsewhere: %v: %v", i, at, err)
			}
		}
		told, resets, synced, _ := quiet.seen()
		if told != 0 || resets != 1 || synced != 1 {
			t.Errorf("told %d changes, %d resets, %d synced, want 0, 1, 1", told, resets, synced)
		}
		c.Put("a", "2")
		quiet.await(t, c.Leader())
		if told, resets, _, _ := quiet.seen(); told != 1 || resets != 1 {
			t.Errorf("told %d changes after %d resets, want 1 after 1", told, resets)
		}
		quiet.finish(t)
	})
}

// A server that is behind waits for what a client has seen elsewhere; an index
// that never was is told apart from that.
func TestFeedAhead(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		c.Agree()
		behind := c.Followers()[0]
		isolate(c, behind)
		for i := range 5 {
			put(c.Leader(), "k", fmt.Sprint("new", i))
		}
		at := structs.After(c.Leader().FSM().Store().Applied())
		f := follow("k", at, always(behind))
		time.Sleep(2 * time.Minute)
		if told, resets, _, _ := f.seen(); told != 0 || resets != 0 {
			t.Errorf("a server that is behind told %d changes and %d resets, want it to wait", told, resets)
		}
		c.Net.Heal()
		time.Sleep(time.Minute)
		put(c.Leader(), "k", "newest")
		time.Sleep(time.Second)
		if told, resets, _, _ := f.seen(); told != 1 || resets != 0 {
			t.Errorf("told %d changes and %d resets, want 1 and none", told, resets)
		}
		f.finish(t)
		for _, n := range c.Nodes {
			f := follow("k", structs.After(1<<40), always(n))
			time.Sleep(3 * time.Second)
			if _, resets, synced, got := f.seen(); resets != 1 || synced != 1 || got.Index >= 1<<40 {
				t.Errorf("%s: index 2^40: %d resets, %d synced, now at %v, want a reset at once", n.Config.NodeName, resets, synced, got)
			}
			f.finish(t)
		}
	})
}

// A client that was told a part of a transaction comes to a server that has not
// applied it, and gets it as a part of a snapshot: it starts over, without being
// told first that the part is all there was.
func TestFeedWithinATransactionMeetsASnapshot(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		c.Agree()
		behind := c.Followers()[0]
		isolate(c, behind)
		put(c.Leader(), "k", "on its way") // and there as soon as the network lets it
		time.Sleep(time.Second)
		if _, err := c.Client(c.Leader()).Txn().Apply(t.Context(), kvOp(structs.KVSet, "a", "1"), kvOp(structs.KVSet, "b", "1")); err != nil {
			t.Fatal(err)
		}
		within := structs.FeedPosition{Index: c.Leader().FSM().Store().Applied()}
		for i := range 20 {
			put(c.Leader(), "k", fmt.Sprint("new", i))
		}
		for _, n := range others(c, behind) {
			if err := n.Raft().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
		feeds, hangUp := context.WithCancel(t.Context())
		var running sync.WaitGroup
		told := make([][]structs.FeedEventType, 50)
		for i := range told {
			running.Go(func() {
				feed, err := behind.OpenFeed(feeds, &structs.FeedRequest{After: within})
				if err != nil {
					t.Error(err)
					return
				}
				_ = feed.Run(feeds, func(events []structs.FeedEvent) error {
					for _, e := range events {
						if e.Entry == nil {
							told[i] = append(told[i], e.Type)
						}
					}
					return nil
				})
			})
			time.Sleep(37 * time.Millisecond)
		}
		c.Net.Heal()
		for _, n := range others(c, behind) {
			c.Net.SetLink(behind.IP, n.IP, vnetDelay(200*time.Millisecond)) // so that some wait for the leader's word when the snapshot comes
		}
		c.Agree()
		time.Sleep(10 * time.Second)
		hangUp()
		running.Wait()
		want := []structs.FeedEventType{structs.FeedReset, structs.FeedSynced}
		for i, got := range told {
			if !slices.Equal(got, want) {
				t.Errorf("feed %d: got %v, want %v", i, got, want)
			}
		}
	}, func(_ int, c *rpcserver.Config) { c.Raft.TrailingLogs = 1 })
}

// A server that has just started does not pass off as the cluster's state what
// it had of it long ago, or nothing: what was acknowledged before it started is
// in the first state that it tells.
func TestFeedOfAServerThatHasJustStarted(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		errDone := errors.New("seen enough")
		for turn := range 5 {
			c.Put("k", fmt.Sprint("old", turn))
			c.Agree()
			n := c.Followers()[turn%2]
			n.Crash()
			for i := range 100 {
				put(c.Leader(), "k", fmt.Sprint(turn, ".", i))
			}
			n.Start()
			last := c.Leader().FSM().Store().Applied()
			feed, err := n.OpenFeed(t.Context(), &structs.FeedRequest{Prefix: "k"})
			if err != nil {
				t.Fatal(err)
			}
			err = feed.Run(t.Context(), func(events []structs.FeedEvent) error {
				for _, e := range events {
					if e.Type != structs.FeedPut && e.Index < last {
						t.Errorf("%s at index %d, want %d, which was before the start", e.Type, e.Index, last)
					}
					if e.Type == structs.FeedSynced {
						return errDone
					}
				}
				return nil
			})
			if !errors.Is(err, errDone) {
				t.Error(err)
			}
		}
	})
}

// Consistent: from what was acknowledged before, by any server.
func TestFeedConsistent(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		errDone := errors.New("seen enough")
		first := func(n *cluster.Node, consistent bool) (value string, err error) {
			feed, err := n.OpenFeed(t.Context(), &structs.FeedRequest{Prefix: "k", Consistent: consistent})
			if err != nil {
				return "", err
			}
			err = feed.Run(t.Context(), func(events []structs.FeedEvent) error {
				for _, e := range events {
					if e.Type == structs.FeedPut {
						value = string(e.Entry.Value)
					}
					if e.Type == structs.FeedSynced {
						return errDone
					}
				}
				return nil
			})
			if errors.Is(err, errDone) {
				err = nil
			}
			return value, err
		}
		for i := range 20 {
			value := fmt.Sprint(i)
			if err := put(c.Leader(), "k", value); err != nil {
				t.Fatal(err)
			}
			for _, n := range c.Nodes {
				if got, err := first(n, true); err != nil || got != value {
					t.Errorf("%s: got %q, %v, want %s", n.Config.NodeName, got, err, value)
				}
			}
		}
		alone := c.Followers()[0]
		isolate(c, alone)
		time.Sleep(5 * time.Second)
		start := time.Now()
		if _, err := first(alone, true); !structs.IsCode(err, structs.NoLeader) {
			t.Errorf("cut off: got %v, want code NoLeader", err)
		}
		took(t, "the refusal", start, 0, 15*time.Second)
		if got, err := first(alone, false); err != nil || got != "19" {
			t.Errorf("cut off, not consistent: got %q, %v", got, err)
		}
		c.Net.Heal()
	})
}

// A server that never heard from a leader does not pass its empty state off as
// the cluster's. One that stops ends its feeds, at once.
func TestFeedNeedsALeader(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		stranger := c.Add(voters(3))
		stranger.Start()
		start := time.Now()
		if _, err := stranger.OpenFeed(t.Context(), &structs.FeedRequest{}); !structs.IsCode(err, structs.NoLeader) {
			t.Errorf("without a leader: got %v, want code NoLeader", err)
		}
		took(t, "the refusal", start, 5*time.Second, 10*time.Second)
		stranger.Join(c.Nodes[0])
		awaitSuffrage(t, c, stranger, true)
		feed, err := stranger.OpenFeed(t.Context(), &structs.FeedRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- feed.Run(context.Background(), func([]structs.FeedEvent) error { return nil }) }()
		time.Sleep(time.Minute)
		start = time.Now()
		stranger.Stop()
		if err := <-ended; err != nil {
			t.Errorf("a server that stops: got %v, want an end in order", err)
		}
		took(t, "the end of a feed", start, 0, 2*time.Second)
		stranger.Start()
	})
}

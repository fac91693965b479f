package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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

// A lock delay holds for whoever leads: it is never cut short by a leader
// change, and lasts longer by at most what had gone by. A follower that was
// installed from a snapshot knows it too.
func TestLockDelayAcrossLeaderChanges(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Second
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		late := c.Followers()[0]
		late.Crash()
		lost := a.session(structs.Session{LockDelay: delay})
		gone := a.session(structs.Session{LockDelay: delay, Behavior: structs.SessionDelete})
		next := a.session(structs.Session{})
		for key, id := range map[string]string{"released": lost, "deleted": gone} {
			if !a.acquire(key, id) {
				t.Fatalf("cannot take the free lock %s", key)
			}
		}
		start := time.Now()
		for _, id := range []string{lost, gone} {
			if err := a.Session().Destroy(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 50 { // so that the log is compacted
			a.KV().Put(context.Background(), fmt.Sprint("fill/", i), make([]byte, 1000))
		}
		if err := c.Leader().Raft().Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		late.Start()
		late.Join(c.Leader())
		testutil.Eventually(t, time.Minute, "a follower from a snapshot", func() error {
			if at, want := late.Raft().AppliedIndex(), c.Leader().Raft().AppliedIndex(); at < want {
				return fmt.Errorf("applied %d of %d", at, want)
			}
			return nil
		})
		c.Agree()
		time.Sleep(10 * time.Second)
		if err := operate(c.Leader(), "TransferLeader", late); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, time.Minute, "the late one leads", func() error {
			if c.Leader() != late {
				return fmt.Errorf("%s leads", c.Leader().Config.NodeName)
			}
			return nil
		})
		changed := time.Now()
		took(t, "until here", start, 10*time.Second, delay-5*time.Second)
		for _, key := range []string{"released", "deleted"} {
			for !a.acquire(key, next) {
				time.Sleep(100 * time.Millisecond)
			}
			took(t, "the lock on "+key+" after the change", changed, delay-time.Second, delay+time.Second)
			took(t, "the lock on "+key, start, delay+10*time.Second, 2*delay)
			if e := a.entry(key); e.LockIndex != 2 || e.Session != next {
				t.Errorf("%s: got %+v, want LockIndex 2", key, e)
			}
		}
	}, func(_ int, c *rpcserver.Config) { c.Raft.TrailingLogs = 1 })
}

// The lock delay is as long as the session says, for its own key alone; unlock
// leaves none, set does not end it, and no client can talk it away.
func TestLockDelay(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		first, second := a.session(structs.Session{LockDelay: 15 * time.Second}), a.session(structs.Session{})
		if !a.acquire("k", first) || a.acquire("k", second) || !a.acquire("k", first) {
			t.Fatal("want the lock for the first who asks, and again")
		}
		if ok, err := a.KV().Release(context.Background(), "k", nil, second); ok || err != nil {
			t.Errorf("release by another: got %v, %v", ok, err)
		}
		if ok, err := a.KV().Release(context.Background(), "k", nil, first); !ok || err != nil {
			t.Errorf("release: got %v, %v", ok, err)
		}
		if !a.acquire("k", second) {
			t.Error("a release left a lock delay")
		}
		a.KV().Release(context.Background(), "k", nil, second)
		if !a.acquire("k", first) {
			t.Fatal("cannot take a released lock")
		}
		start := time.Now()
		if err := a.Session().Destroy(context.Background(), first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := a.KV().Put(context.Background(), "k", []byte("plain")); err != nil {
			t.Errorf("a plain write within the delay: %v", err)
		}
		for _, forged := range []uint64{0, 1 << 60} {
			ok, err := a.KV().Apply(context.Background(), structs.KVLock, structs.DirEntry{Key: "k", Session: second, LockDelayIndex: forged})
			if ok || err != nil {
				t.Errorf("a lock within the delay that claims %d: got %v, %v", forged, ok, err)
			}
		}
		if ok, err := a.KV().Acquire(context.Background(), "k", nil, "bogus"); ok || err != nil {
			t.Errorf("a lock within the delay for no session: got %v, %v, want false", ok, err)
		}
		if !a.acquire("neighbour", second) {
			t.Error("the delay is about another key too")
		}
		for !a.acquire("k", second) {
			time.Sleep(50 * time.Millisecond)
		}
		took(t, "the lock delay", start, 15*time.Second, 15200*time.Millisecond)
		if e := a.entry("k"); e.LockIndex != 4 {
			t.Errorf("got LockIndex %d, want 4", e.LockIndex)
		}
	})
}

// A holder that was paused is stopped by its fence, whatever became of the lock
// meanwhile, and whoever holds it now is not.
func TestPausedHolderIsFenced(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(a app, session string){
		"lost, not taken": func(app, string) {},
		"taken by another": func(a app, session string) {
			a.acquire("lock", session)
		},
		"deleted": func(a app, _ string) {
			a.KV().Delete(context.Background(), "lock")
		},
		"deleted with its prefix and taken": func(a app, session string) {
			a.KV().DeleteTree(context.Background(), "lo")
			a.acquire("lock", session)
		},
		"deleted, created, taken, set": func(a app, session string) {
			a.KV().Delete(context.Background(), "lock")
			a.KV().Put(context.Background(), "lock", []byte("plain"))
			a.acquire("lock", session)
			a.KV().Put(context.Background(), "lock", []byte("plain"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				a := newApp(t, c)
				holder := a.session(structs.Session{TTL: "1s", Expiry: structs.ExpiryExact})
				heir := a.session(structs.Session{})
				if !a.acquire("lock", holder) {
					t.Fatal("cannot take a free lock")
				}
				fence := structs.Fence{Key: "lock", LockIndex: a.entry("lock").LockIndex}
				old := a.KV().Fenced(fence)
				if err := old.Put(context.Background(), "data", []byte("holder")); err != nil {
					t.Fatalf("the holder cannot write: %v", err)
				}
				a.gone(holder) // it is paused, and its session expires
				meanwhile(a, heir)
				c.Leader().Restart()
				before := a.entry("data")
				late := func(what string, write func() error) {
					if err := write(); !structs.IsCode(err, structs.Fenced) {
						t.Errorf("%s by the old holder: got %v, want code Fenced", what, err)
					}
				}
				ctx := context.Background()
				late("put", func() error { return old.Put(ctx, "data", []byte("late")) })
				late("cas", func() error { _, err := old.CAS(ctx, "data", nil, before.ModifyIndex); return err })
				late("delete", func() error { return old.Delete(ctx, "data") })
				late("delete-tree", func() error { return old.DeleteTree(ctx, "") })
				late("lock", func() error { _, err := old.Acquire(ctx, "data", nil, heir); return err })
				if e := a.entry("data"); e == nil || string(e.Value) != "holder" || e.ModifyIndex != before.ModifyIndex {
					t.Errorf("got %+v, want what the holder wrote", e)
				}
				e := a.entry("lock")
				if e == nil || e.Session != heir {
					return
				}
				if e.LockIndex <= fence.LockIndex {
					t.Errorf("the lock index went from %d to %d", fence.LockIndex, e.LockIndex)
				}
				now := a.KV().Fenced(structs.Fence{Key: "lock", LockIndex: e.LockIndex})
				if err := now.Put(ctx, "data", []byte("heir")); err != nil {
					t.Errorf("the heir cannot write: %v", err)
				}
			})
		})
	}
}

// Fifty clients contend for a semaphore of three by Consul's recipe, while
// leaders change and sessions die: there are never more than three holders, and
// everybody gets a turn.
func TestSemaphore(t *testing.T) {
	t.Parallel()
	const clients, limit = 50, 3
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		var holding, most, turns atomic.Int64
		var all sync.WaitGroup
		for range clients {
			a := newApp(t, c)
			all.Go(func() {
				for !a.turn(t, limit, func() {
					now := holding.Add(1)
					for {
						before := most.Load()
						if now <= before || most.CompareAndSwap(before, now) {
							break
						}
					}
					if now > limit {
						t.Errorf("%d hold a semaphore of %d", now, limit)
					}
					time.Sleep(300 * time.Millisecond)
					holding.Add(-1)
					turns.Add(1)
				}) {
				}
			})
		}
		time.Sleep(3 * time.Second)
		c.Leader().Restart()
		all.Wait()
		t.Logf("%d turns, at most %d at once", turns.Load(), most.Load())
		if turns.Load() != clients || most.Load() != limit {
			t.Errorf("got %d turns, at most %d at once, want %d and %d", turns.Load(), most.Load(), clients, limit)
		}
	})
}

// semaphore is the value of its .lock key.
type semaphore struct{ Holders []string }

// turn waits for a place in the semaphore, uses it and gives it back. It returns
// false if something went wrong before the place was had: try again.
func (a app) turn(t *testing.T, limit int, use func()) bool {
	ctx := context.Background()
	session := a.session(structs.Session{TTL: "60s"})
	defer a.Session().Destroy(ctx, session)
	if ok, err := a.KV().Acquire(ctx, "sem/"+session, nil, session); !ok || err != nil {
		return false
	}
	defer a.KV().Delete(ctx, "sem/"+session)
	for index := uint64(0); ; {
		rows, meta, err := a.KV().List(ctx, "sem/", &structs.QueryOptions{MinQueryIndex: index, MaxQueryTime: time.Minute, RequireConsistent: true})
		if err != nil {
			return false
		}
		index = meta.Index
		holders, at := current(rows)
		if len(holders) >= limit {
			continue
		}
		if !a.write(append(holders, session), at) {
			index = 0
			continue
		}
		use()
		for {
			rows, _, err := a.KV().List(ctx, "sem/", consistently)
			if err != nil {
				continue
			}
			holders, at := current(rows)
			i := slices.Index(holders, session)
			if i < 0 {
				t.Errorf("%s is not among the holders any more", session)
				return true
			}
			if a.write(slices.Delete(holders, i, i+1), at) {
				return true
			}
		}
	}
}

// current are the holders whose sessions live, and the index of the .lock key.
func current(rows []*structs.DirEntry) (holders []string, index uint64) {
	living := map[string]bool{}
	var value semaphore
	for _, row := range rows {
		if row.Session != "" {
			living[row.Session] = true
		}
		if strings.HasSuffix(row.Key, "/.lock") {
			index = row.ModifyIndex
			json.Unmarshal(row.Value, &value)
		}
	}
	dead := func(holder string) bool { return !living[holder] }
	return slices.DeleteFunc(value.Holders, dead), index
}

// write stores the holders, if nobody has since. When it is unclear whether it
// did, it looks.
func (a app) write(holders []string, index uint64) bool {
	value, _ := json.Marshal(semaphore{holders})
	ok, err := a.KV().CAS(context.Background(), "sem/.lock", value, index)
	if err != nil {
		e := a.entry("sem/.lock")
		return e != nil && string(e.Value) == string(value)
	}
	return ok
}

// Random crashes and cuts do not let two sessions hold one lock at a time, nor
// the lock index go back.
func TestLockIsHeldByOne(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		var mu sync.Mutex
		seen := map[uint64]string{} // who held the lock under which index
		done := make(chan struct{})
		var all sync.WaitGroup
		for range 5 {
			a := newApp(t, c)
			all.Go(func() {
				ctx := context.Background()
				for {
					select {
					case <-done:
						return
					default:
					}
					session, err := a.Session().Create(ctx, structs.Session{Node: a.node, TTL: "2s", Expiry: structs.ExpiryExact, LockDelay: time.Second})
					if err != nil {
						continue
					}
					if ok, err := a.KV().Acquire(ctx, "lock", nil, session); ok && err == nil {
						if e, _, err := a.KV().Get(ctx, "lock", consistently); err == nil && e != nil && e.Session == session {
							mu.Lock()
							if other, taken := seen[e.LockIndex]; taken && other != session {
								t.Errorf("lock index %d was had by %s and by %s", e.LockIndex, other, session)
							}
							seen[e.LockIndex] = session
							mu.Unlock()
						}
						a.KV().Delete(ctx, "lock")
					}
					time.Sleep(200 * time.Millisecond)
				}
			})
		}
		for range 4 {
			time.Sleep(5 * time.Second)
			c.Leader().Restart()
		}
		close(done)
		all.Wait()
		held := slices.Sorted(maps.Keys(seen))
		t.Logf("held under %d indexes", len(held))
		if len(held) < 10 {
			t.Errorf("the lock was held %d times only", len(held))
		}
	})
}

// However soon tombstones are to be reaped, one outlives the lock delay that it
// remembers.
func TestTombstoneOutlivesLockDelay(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		lost := a.session(structs.Session{LockDelay: time.Minute, Behavior: structs.SessionDelete})
		next := a.session(structs.Session{})
		a.acquire("k", lost)
		start := time.Now()
		if err := a.Session().Destroy(context.Background(), lost); err != nil {
			t.Fatal(err)
		}
		for !a.acquire("k", next) {
			time.Sleep(100 * time.Millisecond)
		}
		took(t, "the lock delay", start, time.Minute, time.Minute+200*time.Millisecond)
		if e := a.entry("k"); e.LockIndex != 2 {
			t.Errorf("got LockIndex %d, want 2", e.LockIndex)
		}
	}, func(_ int, c *rpcserver.Config) { c.TombstoneTTL, c.TombstoneStep = time.Second, time.Second })
}

package cluster_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// answer is what a blocking read came back with, and when.
type answer struct {
	structs.IndexedDirEntries
	err  error
	took time.Duration
}

// wait starts a blocking read of a key through one server.
func wait(ctx context.Context, n *cluster.Node, key string, q structs.QueryOptions) <-chan answer {
	done := make(chan answer, 1)
	start := time.Now()
	go func() {
		reply, err := read(ctx, n, key, q)
		done <- answer{reply, err, time.Since(start)}
	}()
	synctest.Wait()
	return done
}

// blockingRead are the options of a read that waits until index is passed.
func blockingRead(how kind, index uint64, atMost time.Duration) structs.QueryOptions {
	q := how.options()
	q.MinQueryIndex, q.MaxQueryTime = index, atMost
	return q
}

func pending(done <-chan answer) bool {
	synctest.Wait()
	return len(done) == 0
}

// everyWay runs a test for reads of each kind through a leader and a follower.
func everyWay(t *testing.T, c *cluster.Cluster, test func(n *cluster.Node, how kind)) {
	for _, how := range []kind{plain, stale, consistent} {
		test(c.Leader(), how)
		test(c.Followers()[0], how)
	}
}

func TestBlockingReadWakes(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		everyWay(t, c, func(n *cluster.Node, how kind) {
			c.Put("k", "1")
			c.Agree()
			first, err := read(t.Context(), n, "k", how.options())
			if err != nil || first.Index != first.Entries[0].ModifyIndex {
				t.Fatalf("got %+v, %v, want the entry's own index", first, err)
			}
			done := wait(t.Context(), n, "k", blockingRead(how, first.Index, time.Minute))
			c.Put("other", fmt.Sprint(how, n.Config.NodeName))
			c.Put("k", "1") // changes nothing
			time.Sleep(5 * time.Second)
			if !pending(done) {
				t.Error("woken by nothing that concerns it")
			}
			c.Put("k", "2")
			got := <-done
			if got.err != nil || got.Index <= first.Index || string(got.Entries[0].Value) != "2" {
				t.Errorf("got %+v, want value 2 above index %d", got, first.Index)
			}
			if got.took > 6*time.Second {
				t.Errorf("woken after %v, want at once after 5s", got.took)
			}
		})
	})
}

// A read of a key that is not there waits for that key, not for those beside it.
func TestBlockingReadOfAMissingKey(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		everyWay(t, c, func(n *cluster.Node, how kind) {
			name := fmt.Sprintf("missing/%d/%s/", how, n.Config.NodeName)
			c.Put(name+"beside", "1")
			c.Agree()
			first, err := read(t.Context(), n, name+"key", how.options())
			if err != nil || first.Entries != nil || first.Index < 2 {
				t.Fatalf("got %+v, %v, want no entries and the table's index", first, err)
			}
			done := wait(t.Context(), n, name+"key", blockingRead(how, first.Index, time.Minute))
			for i := range 5 {
				c.Put(name+"beside", fmt.Sprint(i))
				c.Put(name+"key"+fmt.Sprint(i), "1")
				c.Put(name+"ke", fmt.Sprint(i))
				time.Sleep(time.Second)
				if !pending(done) {
					t.Fatalf("woken by a neighbour: %+v", <-done)
				}
			}
			c.Put(name+"key", "here")
			if got := <-done; got.err != nil || len(got.Entries) != 1 || got.took > 10*time.Second {
				t.Errorf("got %+v, want the key as soon as it is there", got)
			}
		})
	})
}

// A delete under a prefix ends the wait for a list of it, with a higher index,
// though what is left is older.
func TestBlockingList(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		n := c.Followers()[0]
		kv := c.Client(n).KV()
		c.Put("dir/a", "1")
		c.Put("dir/b", "1")
		c.Put("elsewhere", "1")
		_, before, err := kv.List(t.Context(), "dir/", nil)
		if err != nil {
			t.Fatal(err)
		}
		type result struct {
			n     int
			index uint64
			err   error
		}
		done := make(chan result, 1)
		go func() {
			rows, meta, err := kv.List(t.Context(), "dir/", &structs.QueryOptions{MinQueryIndex: before.Index, MaxQueryTime: time.Minute})
			done <- result{len(rows), meta.Index, err}
		}()
		time.Sleep(time.Second)
		c.Put("elsewhere", "2")
		time.Sleep(time.Second)
		if len(done) > 0 {
			t.Error("woken by a write elsewhere")
		}
		if err := kv.Delete(t.Context(), "dir/b"); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got.err != nil || got.n != 1 || got.index <= before.Index {
			t.Errorf("got %+v, want 1 row above index %d", got, before.Index)
		}
	})
}

// When the time is up the last result is the answer, and no error.
func TestBlockingReadTimesOut(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		c.Agree()
		var reads sync.WaitGroup
		for _, test := range []struct{ asked, want time.Duration }{
			{10 * time.Second, 10 * time.Second},
			{0, 300 * time.Second},         // the default
			{time.Hour, 310 * time.Second}, // the limit
		} {
			everyWay(t, c, func(n *cluster.Node, how kind) {
				first, _ := read(t.Context(), n, "k", how.options())
				for range 10 { // each adds a time of its own choice, up to a sixteenth
					done := wait(t.Context(), n, "k", blockingRead(how, first.Index, test.asked))
					reads.Go(func() {
						got := <-done
						if got.err != nil || got.Index != first.Index || len(got.Entries) != 1 {
							t.Errorf("got %+v, %v, want the last result", got.IndexedDirEntries, got.err)
						}
						if got.took < test.want || got.took > test.want*17/16+time.Second {
							t.Errorf("waited %v, want %v and up to a sixteenth more", got.took, test.want)
						}
					})
				}
			})
		}
		reads.Wait()
	}, func(_ int, c *rpcserver.Config) { c.MaxQueryTime = 310 * time.Second })
}

// A caller that hangs up costs nothing from then on, here or on the leader.
func TestCallersThatHangUp(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		leader, follower := c.Leader(), c.Followers()[0]
		const callers = 50
		hangUp := map[string]func(context.Context, *cluster.Node) func(){
			"its context ends": func(ctx context.Context, n *cluster.Node) func() {
				ctx, cancel := context.WithCancel(ctx)
				kv := c.Client(n).KV()
				for range callers {
					go kv.Get(ctx, "k", &structs.QueryOptions{MinQueryIndex: 1 << 40, MaxQueryTime: 10 * time.Minute})
				}
				return cancel
			},
			"its connection ends": func(ctx context.Context, n *cluster.Node) func() {
				kv := c.Client(n)
				ctx, cancel := context.WithCancel(ctx)
				for range callers {
					go kv.KV().Get(ctx, "k", &structs.QueryOptions{MinQueryIndex: 1 << 40, MaxQueryTime: 10 * time.Minute})
				}
				return func() { kv.Close(); cancel() }
			},
			"in process": func(ctx context.Context, n *cluster.Node) func() {
				ctx, cancel := context.WithCancel(ctx)
				for range callers {
					go read(ctx, n, "k", blockingRead(plain, 1<<40, 10*time.Minute))
				}
				return cancel
			},
		}
		for name, start := range hangUp {
			for _, n := range []*cluster.Node{leader, follower} {
				end := start(t.Context(), n)
				time.Sleep(time.Second)
				if got := leader.InFlight(); got < callers {
					t.Errorf("%s: %d methods in flight on the leader, want %d", name, got, callers)
				}
				end()
				testutil.Eventually(t, 3*time.Second, name+": nothing in flight", func() error {
					if l, f := leader.InFlight(), follower.InFlight(); l > 0 || f > 0 {
						return fmt.Errorf("%d on the leader, %d on the follower", l, f)
					}
					return nil
				})
			}
		}
	})
}

// A read that waits at the leader through a follower moves on to the next
// leader, and ends in time all the same.
func TestBlockingReadFollowsTheLeader(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		n, old := c.Followers()[0], c.Leader()
		first, err := read(t.Context(), n, "k", plain.options())
		if err != nil {
			t.Fatal(err)
		}
		woken := wait(t.Context(), n, "k", blockingRead(plain, first.Index, 10*time.Minute))
		late := wait(t.Context(), n, "missing", blockingRead(plain, 1<<40, time.Minute))
		time.Sleep(30 * time.Second)
		old.Crash()
		time.Sleep(15 * time.Second)
		c.Put("k", "2")
		if got := <-woken; got.err != nil || string(got.Entries[0].Value) != "2" || got.took > 50*time.Second {
			t.Errorf("got %+v, %v after %v, want value 2 at once", got.Entries, got.err, got.took)
		}
		if got := <-late; got.err != nil || got.took < time.Minute || got.took > 66*time.Second {
			t.Errorf("got %+v, %v after %v, want an answer after a minute", got.Entries, got.err, got.took)
		}
		old.Start()
	})
}

// A read that has an answer of its own, when it is no longer for this server to
// give, keeps nothing of it in the next leader's: neither a key that is gone by
// then, nor does that answer end up in rows which are still part of the state.
func TestBlockingReadForgetsItsFirstAnswer(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		service := &structs.RegisterRequest{Node: "n", Address: "10.1.1.1", SkipNodeUpdate: true, Service: &structs.NodeService{ID: "s", Service: "s", Port: 1}}
		register(t, c.Leader(), service)
		old := c.Leader()
		first, err := read(t.Context(), old, "k", consistent.options())
		if err != nil {
			t.Fatal(err)
		}
		key := wait(t.Context(), old, "k", blockingRead(consistent, first.Index, 10*time.Minute))
		var instances structs.IndexedCheckServiceNodes
		ask := func(after uint64) error {
			q := structs.ServiceSpecificRequest{ServiceName: "s", QueryOptions: blockingRead(consistent, after, 10*time.Minute)}
			return old.Call(t.Context(), "Health.ServiceNodes", &q, &instances)
		}
		if err := ask(0); err != nil {
			t.Fatal(err)
		}
		catalog := make(chan error, 1)
		go func() { catalog <- ask(instances.Index) }()
		time.Sleep(time.Second)
		was := *old.FSM().Store().Read().Service("n", "s")
		if err := operate(old, "TransferLeader", c.Followers()[0]); err != nil {
			t.Fatal(err)
		}
		held := old.FSM().Store().Read() // from before the change
		service.Service.Port = 2
		register(t, c.Leader(), service)
		if err := c.Client().KV().Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if got := <-key; got.err != nil || len(got.Entries) > 0 || got.took > 30*time.Second {
			t.Errorf("the key that is gone: got %v at index %d, %v after %v", got.Entries, got.Index, got.err, got.took)
		}
		if err := <-catalog; err != nil || len(instances.Nodes) != 1 || instances.Nodes[0].Service.Port != 2 {
			t.Errorf("the instances: got %+v, %v, want port 2", instances.Nodes, err)
		}
		if now := held.Service("n", "s"); now.Port != was.Port {
			t.Errorf("the state of before has port %d now", now.Port)
		}
	})
}

// A server that stops does not leave its callers waiting.
func TestBlockingReadsEndWithTheServer(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		for _, n := range []*cluster.Node{c.Leader(), c.Followers()[0]} {
			done := wait(t.Context(), n, "k", blockingRead(stale, 1<<40, 10*time.Minute))
			start := time.Now()
			n.Stop()
			<-done
			took(t, "the end of a read on a server that stops", start, 0, 5*time.Second)
			n.Start()
		}
	})
}

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

// readReply is the reply to any read.
type readReply interface{ Meta() *structs.QueryMeta }

// readKind is a read that has an index, of things that a furnished cluster has.
type readKind struct {
	method string
	make   func(q structs.QueryOptions) (request any, reply readReply)
}

// readKinds are one of each.
var readKinds = []readKind{
	{"KV.Get", func(q structs.QueryOptions) (any, readReply) {
		return &structs.KeyRequest{Key: "k", QueryOptions: q}, &structs.IndexedDirEntries{}
	}},
	{"KV.Get", func(q structs.QueryOptions) (any, readReply) { // of a key that is not there
		return &structs.KeyRequest{Key: "nowhere/at/all", QueryOptions: q}, &structs.IndexedDirEntries{}
	}},
	{"KV.List", func(q structs.QueryOptions) (any, readReply) {
		return &structs.KeyRequest{Key: "k", QueryOptions: q}, &structs.IndexedDirEntries{}
	}},
	{"KV.ListKeys", func(q structs.QueryOptions) (any, readReply) {
		return &structs.KeyListRequest{Prefix: "k", QueryOptions: q}, &structs.IndexedKeyList{}
	}},
	{"Catalog.ListNodes", func(q structs.QueryOptions) (any, readReply) {
		return &structs.DCSpecificRequest{QueryOptions: q}, &structs.IndexedNodes{}
	}},
	{"Catalog.ListServices", func(q structs.QueryOptions) (any, readReply) {
		return &structs.DCSpecificRequest{QueryOptions: q}, &structs.IndexedServices{}
	}},
	{"Catalog.ServiceNodes", func(q structs.QueryOptions) (any, readReply) {
		return &structs.ServiceSpecificRequest{ServiceName: "web", QueryOptions: q}, &structs.IndexedServiceNodes{}
	}},
	{"Catalog.NodeServices", func(q structs.QueryOptions) (any, readReply) {
		return &structs.NodeSpecificRequest{Node: "far", QueryOptions: q}, &structs.IndexedNodeServices{}
	}},
	{"Health.ServiceNodes", func(q structs.QueryOptions) (any, readReply) {
		return &structs.ServiceSpecificRequest{ServiceName: "web", QueryOptions: q}, &structs.IndexedCheckServiceNodes{}
	}},
	{"Health.NodeChecks", func(q structs.QueryOptions) (any, readReply) {
		return &structs.NodeSpecificRequest{Node: "far", QueryOptions: q}, &structs.IndexedHealthChecks{}
	}},
	{"Health.ChecksInState", func(q structs.QueryOptions) (any, readReply) {
		return &structs.ChecksInStateRequest{State: "any", QueryOptions: q}, &structs.IndexedHealthChecks{}
	}},
	{"Session.List", func(q structs.QueryOptions) (any, readReply) {
		return &structs.SessionSpecificRequest{QueryOptions: q}, &structs.IndexedSessions{}
	}},
	{"PreparedQuery.List", func(q structs.QueryOptions) (any, readReply) {
		return &structs.DCSpecificRequest{QueryOptions: q}, &structs.IndexedPreparedQueries{}
	}},
	{"Coordinate.ListNodes", func(q structs.QueryOptions) (any, readReply) {
		return &structs.DCSpecificRequest{QueryOptions: q}, &structs.IndexedCoordinates{}
	}},
	{"Txn.Read", func(q structs.QueryOptions) (any, readReply) {
		get := structs.TxnOp{KV: &structs.TxnKVOp{Verb: structs.KVGet, DirEnt: structs.DirEntry{Key: "k"}}}
		return &structs.TxnReadRequest{Ops: []structs.TxnOp{get}, QueryOptions: q}, &structs.TxnReadResponse{}
	}},
}

// metaOf makes one read of a kind.
func metaOf(ctx context.Context, n *cluster.Node, kind readKind, q structs.QueryOptions) (structs.QueryMeta, error) {
	request, reply := kind.make(q)
	err := n.Call(ctx, kind.method, request, reply)
	return *reply.Meta(), err
}

// furnish puts something of everything into the cluster.
func furnish(t testing.TB, c *cluster.Cluster) {
	t.Helper()
	c.Put("k", "v")
	for method, request := range map[string]any{
		"Catalog.Register": &structs.RegisterRequest{Node: "far", Address: "10.9.9.9",
			Service: &structs.NodeService{ID: "web", Service: "web", Port: 80},
			Check:   &structs.HealthCheck{Node: "far", CheckID: "web", ServiceID: "web", Status: structs.HealthPassing}},
	} {
		if err := c.Leader().Call(t.Context(), method, request, new(struct{})); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
	var id string
	if err := c.Leader().Call(t.Context(), "Session.Apply", &structs.SessionRequest{
		Op: structs.SessionCreate, Session: structs.Session{Node: c.Leader().Config.NodeName},
	}, &id); err != nil {
		t.Fatal(err)
	}
}

// watcher is a client that reads everything, everywhere, again and again, and
// complains when an index goes back. A stale index is that of one server.
type watcher struct {
	highest map[string]uint64
}

func (w *watcher) look(t *testing.T, c *cluster.Cluster, when string) {
	t.Helper()
	for _, n := range c.Up() {
		for _, how := range []kind{plain, stale, consistent} {
			for i, kind := range readKinds {
				name := fmt.Sprintf("%s %d", kind.method, i)
				if how == stale {
					name += " on " + n.Config.NodeName
				}
				var meta structs.QueryMeta
				testutil.Eventually(t, time.Minute, name, func() (err error) {
					meta, err = metaOf(t.Context(), n, kind, how.options())
					return err
				})
				if meta.Index < w.highest[name] {
					t.Errorf("%s: %s through %s: index %d after %d", when, name, n.Config.NodeName, meta.Index, w.highest[name])
				}
				w.highest[name] = max(w.highest[name], meta.Index)
			}
		}
	}
}

// epochOf fails unless all servers are in one epoch, and returns it.
func epochOf(t testing.TB, c *cluster.Cluster) string {
	t.Helper()
	c.Agree()
	epoch := c.Leader().Epoch()
	if epoch == "" {
		t.Error("the cluster has no epoch")
	}
	for _, n := range c.Up() {
		if got := n.Epoch(); got != epoch {
			t.Errorf("%s is in epoch %q, the leader in %q", n.Config.NodeName, got, epoch)
		}
		meta, err := metaOf(t.Context(), n, readKinds[0], stale.options())
		if err != nil || meta.Epoch != epoch {
			t.Errorf("%s: a read is of epoch %q, %v, want %q", n.Config.NodeName, meta.Epoch, err, epoch)
		}
	}
	return epoch
}

// Through restores, changes of leader, restarts, snapshots that are installed
// and a server that was not there, no client sees an index go back; the epoch
// changes with each restore and with nothing else.
func TestIndexesAndEpochsAcrossRestores(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		furnish(t, c)
		w := &watcher{highest: map[string]uint64{}}
		w.look(t, c, "at the start")
		epoch := epochOf(t, c)
		same := func(when string) {
			t.Helper()
			if got := epochOf(t, c); got != epoch {
				t.Errorf("%s: the epoch has changed from %s to %s", when, epoch, got)
			}
			w.look(t, c, when)
		}
		another := func(when string) {
			t.Helper()
			got := epochOf(t, c)
			if got == epoch {
				t.Errorf("%s: the epoch is still %s", when, got)
			}
			epoch = got
			w.look(t, c, when)
		}
		archive := save(t, c.Leader())
		for i := range 50 {
			c.Put("k", fmt.Sprint(i))
		}
		same("after a save and writes")

		if err := restore(c.Followers()[0], archive); err != nil {
			t.Fatal(err)
		}
		another("after a restore")
		floor := c.Leader().FSM().Store().Epoch().Floor
		w.look(t, c, "after a restore, again")
		for kind, index := range w.highest {
			if index < floor {
				t.Errorf("%s: index %d is below %d, that of the restore", kind, index, floor)
			}
		}
		entry, err := read(t.Context(), c.Leader(), "k", plain.options())
		if err != nil || entry.Entries[0].ModifyIndex >= floor {
			t.Errorf("got %+v, %v, want the key with its index from before", entry, err)
		}

		c.Leader().Crash()
		c.Put("other", "1")
		same("after a change of leader")
		for _, n := range c.Nodes {
			n.Restart()
			c.Leader()
		}
		same("after restarts")

		down := c.Followers()[0]
		down.Crash()
		if err := restore(c.Leader(), archive); err != nil {
			t.Fatal(err)
		}
		another("after a restore that one server missed")
		down.Start()
		same("after it is back")
		again := save(t, c.Leader())
		if err := restore(c.Leader(), again); err != nil {
			t.Fatal(err)
		}
		another("after the restore of an archive from after a restore")

		newcomer := c.Add(voters(0))
		newcomer.Start()
		newcomer.Join(c.Leader())
		awaitSuffrage(t, c, newcomer, true)
		same("with a new server")
		for _, n := range c.Up() {
			if err := n.Raft().Snapshot().Error(); err != nil {
				t.Error(err)
			}
			n.Restart()
			c.Leader()
		}
		same("after snapshots of raft's own and restarts from them")
	})
}

// Reads of every kind that wait, on the leader and on a follower, end with a
// restore at an index that is not below it. From there they wait for a change.
func TestBlockedReadsAcrossARestore(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		furnish(t, c)
		archive := save(t, c.Leader())
		for i := range 20 {
			c.Put("k", fmt.Sprint(i))
		}
		c.Agree()
		old := epochOf(t, c)
		type result struct {
			name string
			meta structs.QueryMeta
			err  error
		}
		// everywhere starts reads of every kind, and returns how they end.
		everywhere := func(after func(now uint64) uint64) (int, <-chan result) {
			results, n := make(chan result, 1000), 0
			for _, node := range []*cluster.Node{c.Leader(), c.Followers()[0]} {
				for _, how := range []kind{plain, stale, consistent} {
					for i, kind := range readKinds {
						if kind.method == "Txn.Read" {
							continue // never waits
						}
						now, err := metaOf(t.Context(), node, kind, how.options())
						if err != nil {
							t.Fatal(err)
						}
						n++
						q := blockingRead(how, after(now.Index), 5*time.Minute)
						go func() {
							meta, err := metaOf(context.WithoutCancel(t.Context()), node, kind, q)
							results <- result{fmt.Sprintf("%s (%d), %d through %s", kind.method, i, how, node.Config.NodeName), meta, err}
						}()
					}
				}
			}
			time.Sleep(time.Second)
			return n, results
		}
		n, results := everywhere(func(now uint64) uint64 { return now })
		if len(results) > 0 {
			t.Fatalf("%+v did not wait", <-results)
		}
		start := time.Now()
		if err := restore(c.Followers()[1], archive); err != nil {
			t.Fatal(err)
		}
		c.Agree()
		floor, epoch := c.Leader().FSM().Store().Epoch().Floor, epochOf(t, c)
		if epoch == old {
			t.Error("the epoch has not changed")
		}
		for range n {
			if got := <-results; got.err != nil || got.meta.Index < floor || got.meta.Epoch != epoch {
				t.Errorf("%s: got %+v, %v, want an index from %d on and epoch %s", got.name, got.meta, got.err, floor, epoch)
			}
		}
		took(t, "the end of all waiting", start, 0, 5*time.Second)

		// A client of before is answered at once, whatever its index was.
		n, results = everywhere(func(uint64) uint64 { return floor - 1 })
		for range n {
			if got := <-results; got.err != nil || got.meta.Index < floor {
				t.Errorf("%s: got %+v, %v, want an answer at once", got.name, got.meta, got.err)
			}
		}
		took(t, "reads with an index from before", start, 0, 20*time.Second)

		// One that knows of the restore waits for a change.
		k := wait(t.Context(), c.Followers()[0], "k", blockingRead(plain, floor, 5*time.Minute))
		none := wait(t.Context(), c.Leader(), "nowhere", blockingRead(stale, floor, 5*time.Minute))
		time.Sleep(10 * time.Second)
		if !pending(k) || !pending(none) {
			t.Error("woken by nothing")
		}
		c.Put("k", "changed")
		c.Put("nowhere", "else")
		if got := <-k; got.err != nil || got.Index <= floor || string(got.Entries[0].Value) != "changed" {
			t.Errorf("got %+v, want the change, above %d", got, floor)
		}
		if got := <-none; got.err != nil || got.Index <= floor || len(got.Entries) != 1 {
			t.Errorf("got %+v, want the new key, above %d", got, floor)
		}
	})
}

// An index of before the restore is good for compare-and-set if the archive has
// the row as it was then, and only then.
func TestCASAcrossARestore(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		index := func() uint64 {
			reply, err := read(t.Context(), c.Leader(), "k", consistent.options())
			if err != nil {
				t.Fatal(err)
			}
			return reply.Entries[0].ModifyIndex
		}
		then := index()
		archive := save(t, c.Leader())
		c.Put("k", "lost")
		lost := index()
		if err := restore(c.Leader(), archive); err != nil {
			t.Fatal(err)
		}
		kv := c.Client().KV()
		if done, err := kv.CAS(t.Context(), "k", []byte("w"), lost); done || err != nil {
			t.Errorf("with the index of what was lost: got %v, %v", done, err)
		}
		if done, err := kv.CAS(t.Context(), "k", []byte("w"), then); !done || err != nil {
			t.Errorf("with the index of what is there: got %v, %v", done, err)
		}
		if now, floor := index(), c.Leader().FSM().Store().Epoch().Floor; now <= floor {
			t.Errorf("a write after the restore has index %d, want above %d", now, floor)
		}
	})
}

// A feed is told of a restore, on every server, and which epoch it is now.
func TestFeedTellsTheEpoch(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		archive := save(t, c.Leader())
		c.Agree()
		first := epochOf(t, c)
		var mu sync.Mutex
		resets := map[string][]string{}
		var feeds sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for _, n := range c.Nodes {
			feed, err := n.OpenFeed(ctx, &structs.FeedRequest{Prefix: "k"})
			if err != nil {
				t.Fatal(err)
			}
			if got := feed.Meta().Epoch; got != first {
				t.Errorf("%s: a feed of epoch %q, want %q", n.Config.NodeName, got, first)
			}
			feeds.Go(func() {
				feed.Run(ctx, func(events []structs.FeedEvent) error {
					mu.Lock()
					defer mu.Unlock()
					for _, e := range events {
						if e.Type == structs.FeedReset {
							resets[n.Config.NodeName] = append(resets[n.Config.NodeName], e.Epoch)
						}
					}
					return nil
				})
			})
		}
		time.Sleep(time.Second)
		if err := restore(c.Leader(), archive); err != nil {
			t.Fatal(err)
		}
		second := epochOf(t, c)
		time.Sleep(5 * time.Second)
		cancel()
		feeds.Wait()
		for _, n := range c.Nodes {
			if got := resets[n.Config.NodeName]; len(got) != 2 || got[0] != first || got[1] != second {
				t.Errorf("%s: resets of epochs %q, want %q and %q", n.Config.NodeName, got, first, second)
			}
		}
	})
}

// A recovery may lose what was acknowledged, so it begins an epoch too; servers
// that recover side by side, and new ones, come to the same state.
func TestEpochOfARecovery(t *testing.T) {
	t.Parallel()
	for _, restored := range []bool{false, true} {
		t.Run(fmt.Sprintf("restored %v", restored), func(t *testing.T) {
			t.Parallel()
			story(t, 5, func(t *testing.T, c *cluster.Cluster) {
				c.Put("k", "v")
				if restored {
					if err := restore(c.Leader(), save(t, c.Leader())); err != nil {
						t.Fatal(err)
					}
					c.Put("k", "w")
				}
				before := epochOf(t, c)
				for _, n := range c.Nodes {
					n.Crash()
				}
				left := c.Nodes[3:]
				writePeers(t, left...)
				for _, n := range left {
					n.Start()
				}
				c.Put("k", "x")
				after := epochOf(t, c)
				if after == before {
					t.Errorf("after the recovery the epoch is still %s", before)
				}
				newcomer := c.Add(voters(0))
				newcomer.Start()
				newcomer.Join(left[0])
				awaitSuffrage(t, c, newcomer, true)
				for _, n := range left {
					n.Restart()
					c.Leader()
				}
				if got := epochOf(t, c); got != after {
					t.Errorf("the epoch has changed from %s to %s with a restart", after, got)
				}
			})
		})
	}
}

// A new cluster that takes over another's archive is above all that the clients
// of the other have seen, and in an epoch of its own.
func TestRestoreIntoANewCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		other := c.Add(func(_ int, config *rpcserver.Config) { config.NodeName, config.Bootstrap = "other", true })
		other.Start()
		testutil.Eventually(t, time.Minute, "the other cluster", func() error { return put(other, "k", "v") })
		for i := range 300 {
			if err := put(other, "k", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		seen, err := metaOf(t.Context(), other, readKinds[0], plain.options())
		if err != nil {
			t.Fatal(err)
		}
		archive := save(t, other)
		other.Crash()
		ours := c.Leader().Raft().LastIndex()
		if err := restore(c.Followers()[0], archive); err != nil {
			t.Fatal(err)
		}
		if ours >= seen.Index {
			t.Fatalf("the new cluster is at %d already, the old one at %d: this shows nothing", ours, seen.Index)
		}
		if got := epochOf(t, c); got == seen.Epoch {
			t.Errorf("both clusters are in epoch %s", got)
		}
		for i, kind := range readKinds {
			meta, err := metaOf(t.Context(), c.Followers()[0], kind, blockingRead(plain, seen.Index, time.Minute))
			if err != nil || meta.Index <= seen.Index {
				t.Errorf("%s (%d): got index %d, %v, want an answer at once, above %d", kind.method, i, meta.Index, err, seen.Index)
			}
		}
	})
}

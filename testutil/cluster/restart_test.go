package cluster_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver"
	"praetor/rpcserver/logstore"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// Every server is restarted in turn, the leader among them, while clients write.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		w := startWriters(c, 8)
		for _, n := range c.Nodes {
			time.Sleep(time.Second)
			n.Stop()
			time.Sleep(time.Second)
			n.Start()
			time.Sleep(2 * time.Second) // for it to catch up, as an operator would see to
		}
		if gap := w.finish(t, c); gap > 5*time.Second {
			t.Errorf("nothing was written for %v, want less than 5s", gap)
		}
	})
}

// What was acknowledged is on disk: all servers may die at once.
func TestAllServersCrash(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for round := range 3 {
			for i := range 60 { // over the snapshot threshold too
				c.Put(fmt.Sprintf("%d/%d", round, i), "v")
			}
			time.Sleep(3 * time.Second)
			c.Put("last", fmt.Sprint(round))
			for _, n := range c.Nodes {
				n.Crash()
			}
			for _, n := range c.Nodes {
				n.Start()
			}
			if got := c.Get("last"); got != fmt.Sprint(round) {
				t.Errorf("the last write before crash %d is %q", round, got)
			}
		}
		if got := len(c.Leader().FSM().Store().Read().KVTree("")); got != 3*60+1 {
			t.Errorf("%d keys, want %d", got, 3*60+1)
		}
	}, smallLogs)
}

// stopAtSnapshot stops a server when all it has is in a snapshot.
func stopAtSnapshot(t *testing.T, c *cluster.Cluster, n *cluster.Node) {
	t.Helper()
	c.Put("last", "v") // snapshots go to the last command
	c.Agree()
	if err := n.Raft().Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		t.Fatal(err)
	}
	n.Stop()
}

// editLog changes the log of a server that is stopped.
func editLog(t *testing.T, n *cluster.Node, edit func(log *logstore.Store, first, last uint64) error) {
	t.Helper()
	log, err := logstore.Open(filepath.Join(n.Config.DataDir, "raft"), n.Config.NodeID, logstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := log.FirstIndex()
	last, _ := log.LastIndex()
	if err := errors.Join(edit(log, first, last), log.Close()); err != nil {
		t.Fatal(err)
	}
}

// A server may end between storing a snapshot from the leader and deleting the log
// from before it. It takes what comes behind the snapshot after its next start.
func TestSnapshotAheadOfTheLog(t *testing.T) {
	t.Parallel()
	for _, name := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				for i := range 60 {
					c.Put(fmt.Sprint(i), "v")
				}
				n := c.Followers()[0]
				stopAtSnapshot(t, c, n)
				editLog(t, n, func(log *logstore.Store, first, last uint64) error {
					if first+1 >= log.Snapshot() {
						return fmt.Errorf("the log begins at %d, the snapshot is of %d: this shows nothing", first, log.Snapshot())
					}
					return log.DeleteRange(first+1, last)
				})
				n.Start()
				c.Put("k", "v")
			}, backend(name), smallLogs)
		})
	}
}

// The log of a server may begin right behind its snapshot, with an entry that the
// cluster never took. Another one takes its place.
func TestEntryBehindTheSnapshotIsReplaced(t *testing.T) {
	t.Parallel()
	for _, name := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				for i := range 60 {
					c.Put(fmt.Sprint(i), "v")
				}
				n, heir := c.Followers()[0], c.Followers()[1]
				stopAtSnapshot(t, c, n)
				editLog(t, n, func(log *logstore.Store, first, last uint64) error {
					if last != log.Snapshot() {
						return fmt.Errorf("the log ends at %d, the snapshot at %d: this shows nothing", last, log.Snapshot())
					}
					var entry raft.Log
					err := log.GetLog(last, &entry)
					entry.Index++
					return errors.Join(err, log.DeleteRange(first, last), log.StoreLog(&entry))
				})
				if err := operate(c.Leader(), "TransferLeader", heir); err != nil {
					t.Fatal(err)
				}
				n.Start()
				testutil.Eventually(t, 10*time.Second, "the server takes part", func() error { return put(n, "k", "v") })
				testutil.Eventually(t, 5*time.Second, "it has what the others have", func() error {
					if got, want := n.FSM().Store().Applied(), c.Leader().FSM().Store().Applied(); got != want {
						return fmt.Errorf("it has applied %d of %d", got, want)
					}
					return nil
				})
			}, backend(name), smallLogs)
		})
	}
}

// The disk of a server may fail between cutting off entries that were taken back and
// storing those that take their place. It catches up when the disk works again.
func TestDiskFailsBehindACut(t *testing.T) {
	t.Parallel()
	for _, name := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cut, healed atomic.Bool
			failing := func(_ int, config *rpcserver.Config) {
				config.Raft.AroundWrite = func(what string, write func() error) error {
					if what == "log" && cut.Load() && !healed.Load() {
						return errors.New("the disk fails")
					}
					err := write()
					if what == "cut" {
						cut.Store(true)
					}
					return err
				}
			}
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				old := c.Leader()
				isolate(c, old)
				for range 10 {
					go put(old, "lost", "v")
				}
				time.Sleep(3 * time.Second)
				majority := others(c, old)[0]
				if err := put(majority, "k", "1"); err != nil {
					t.Fatal(err)
				}
				c.Net.Heal()
				testutil.Eventually(t, 5*time.Second, "a cut", func() error {
					if !cut.Load() {
						return errors.New("there was none: this shows nothing")
					}
					return nil
				})
				time.Sleep(time.Second)
				healed.Store(true)
				testutil.Eventually(t, 10*time.Second, "the server has what the others have", func() error {
					got, err := get(old, "k", stale)
					if err == nil && got != "1" {
						err = fmt.Errorf("it has %q", got)
					}
					return err
				})
			}, backend(name), failing)
		})
	}
}

// A restore deletes the leader's log whole. If the disk fails right behind that, the
// leader steps down, since others can write, and is well when its disk is.
func TestLeaderDoesNotInsistBehindACut(t *testing.T) {
	t.Parallel()
	var cut, broken [3]atomic.Bool
	failing := func(i int, config *rpcserver.Config) {
		config.Raft.AroundWrite = func(what string, write func() error) error {
			if what == "log" && cut[i].Load() && broken[i].Load() {
				return errors.New("the disk fails")
			}
			err := write()
			if what == "cut" {
				cut[i].Store(true)
			}
			return err
		}
	}
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		old := c.Leader()
		at := slices.Index(c.Nodes, old)
		archive := save(t, old)
		cut[at].Store(false)
		broken[at].Store(true)
		start := time.Now()
		restored := make(chan error, 1)
		go func() { restored <- restore(old, archive) }()
		select {
		case err := <-restored:
			if err == nil {
				t.Fatal("the restore did not fail: this shows nothing")
			}
		case <-time.After(time.Minute):
			t.Fatal("the leader still leads, and cannot write")
		}
		if !cut[at].Load() {
			t.Fatal("the restore cut nothing off: this shows nothing")
		}
		testutil.Eventually(t, time.Minute, "a write through another", func() error {
			return put(others(c, old)[0], "k", "new")
		})
		took(t, "stepping down", start, 0, 5*time.Second) // the others go first
		broken[at].Store(false)
		c.Put("k", "newer")
		c.Agree()
		mustGet(t, old, "k", stale, "newer")
	}, failing)
}

// A network in which nobody reaches anybody, for a while, costs time and
// nothing else.
func TestEverybodyAlone(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		w := startWriters(c, 3)
		time.Sleep(time.Second)
		c.Net.Partition([]string{c.Nodes[0].IP}, []string{c.Nodes[1].IP}, []string{c.Nodes[2].IP})
		time.Sleep(10 * time.Second)
		for _, n := range c.Nodes {
			if n.IsLeader() {
				t.Errorf("%s leads alone", n.Config.NodeName)
			}
			if _, err := get(n, "k", consistent); err == nil {
				t.Errorf("%s answers a consistent read alone", n.Config.NodeName)
			}
		}
		c.Net.Heal()
		start := time.Now()
		c.Put("k", "new")
		took(t, "heal to acknowledged write", start, 0, 30*time.Second)
		w.finish(t, c)
	})
}

// A server stops in time whatever it is asked meanwhile, and every request ends.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for range 3 {
			leader := c.Leader()
			server := leader.Server
			var asked sync.WaitGroup
			for i := range 200 {
				asked.Go(func() {
					key := structs.DirEntry{Key: fmt.Sprint(i), Value: []byte("v")}
					server.Call(t.Context(), "KV.Apply", &structs.KVSRequest{Op: structs.KVSet, DirEnt: key}, new(bool))
					var reply structs.IndexedDirEntries
					server.Call(t.Context(), "KV.Get", &structs.KeyRequest{Key: key.Key, QueryOptions: consistent.options()}, &reply)
				})
			}
			runtime.Gosched()
			start := time.Now()
			leader.Crash()
			took(t, "a crash", start, 0, 5*time.Second)
			asked.Wait()
			took(t, "the end of all requests", start, 0, 10*time.Second)
			leader.Start()
			c.Agree()
		}
	})
}

package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// save takes a snapshot through one server.
func save(t testing.TB, n *cluster.Node) []byte {
	t.Helper()
	archive, meta, err := n.SaveSnapshot(context.Background(), &structs.SnapshotRequest{})
	if err != nil {
		t.Fatalf("save through %s: %v", n.Config.NodeName, err)
	}
	defer archive.Close()
	b, err := io.ReadAll(archive)
	if err != nil || meta.Index == 0 {
		t.Fatalf("save through %s: %v, index %d", n.Config.NodeName, err, meta.Index)
	}
	return b
}

func restore(n *cluster.Node, archive []byte) error {
	return n.RestoreSnapshot(context.Background(), &structs.SnapshotRequest{}, bytes.NewReader(archive))
}

// A restore in the middle of everything: whoever waits is woken, writers go on,
// and all servers have the state of the archive and what was written since.
func TestRestoreUnderLoad(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for i := range 20 {
			c.Put(fmt.Sprintf("kept/%d", i), "old")
		}
		archive := save(t, c.Followers()[0])
		c.Put("kept/0", "new")
		c.Put("since", "1")
		c.Agree()
		for round, through := range []*cluster.Node{c.Leader(), c.Followers()[0]} {
			w := startWriters(c, 4)
			var woken []<-chan answer
			for _, n := range c.Nodes {
				for _, key := range []string{"kept/0", "kept/1", "missing"} {
					woken = append(woken, wait(t.Context(), n, key, blockingRead(stale, 1<<40, 10*time.Minute)))
					woken = append(woken, wait(t.Context(), n, key, blockingRead(plain, 1<<40, 10*time.Minute)))
				}
			}
			time.Sleep(time.Second)
			start := time.Now()
			if err := restore(through, archive); err != nil {
				t.Fatalf("restore: %v", err)
			}
			took(t, "restore", start, 0, 5*time.Second)
			for i, done := range woken {
				if got := <-done; got.err != nil || got.took > 10*time.Second {
					t.Errorf("reader %d: %v after %v, want an answer at once", i, got.err, got.took)
				}
			}
			w.reset()
			time.Sleep(time.Second)
			w.finish(t, c)
			for _, n := range c.Nodes {
				mustGet(t, n, "kept/0", consistent, "old")
				mustGet(t, n, "kept/0", stale, "old")
				mustGet(t, n, "since", stale, "")
			}
			c.Put("since", fmt.Sprint(round))
		}
		c.Followers()[0].Restart() // the log has a hole where the snapshot is
		c.Leader().Restart()
		c.Put("after", "1")
	})
}

// Raft refuses to restore while a change of its configuration is not committed,
// and servers that join change it: a restore waits instead, and so do they.
func TestRestoreWhileTheConfigurationChanges(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		archive := save(t, c.Leader())
		leader, changed := c.Leader(), c.Followers()[0]
		for _, n := range c.Followers() {
			c.Net.SetLink(leader.IP, n.IP, vnetDelay(100*time.Millisecond))
		}
		ctx, stop := context.WithCancel(t.Context())
		var changes sync.WaitGroup
		count := 0
		changes.Go(func() {
			for ; ctx.Err() == nil; count++ {
				for _, method := range []string{"RaftDemotePeer", "RaftPromotePeer"} {
					// What is being written when the state is replaced may be lost, and says so.
					if err := operate(leader, method, changed); err != nil && !structs.IsCode(err, structs.Unclear) {
						t.Errorf("%s: %v", method, err)
					}
				}
			}
		})
		for i := range 10 {
			time.Sleep(time.Second + time.Duration(i)*70*time.Millisecond)
			if err := restore(leader, archive); err != nil {
				t.Errorf("restore: %v", err)
			}
		}
		stop()
		changes.Wait()
		if count < 10 {
			t.Errorf("the configuration was changed only %d times", count)
		}
		mustGet(t, c.Followers()[1], "k", consistent, "old")
	})
}

// A bad archive is refused, and nobody notices anything.
func TestBadArchiveIsRefused(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		good := save(t, c.Leader())
		c.Put("k", "w")
		c.Agree()
		flipped := bytes.Clone(good)
		flipped[len(flipped)/2] ^= 0x40
		before := c.Leader().FSM().View()
		term := c.Leader().Raft().CurrentTerm()
		for name, bad := range map[string][]byte{
			"empty": {}, "junk": bytes.Repeat([]byte("junk"), 1000), "cut": good[:len(good)-9], "half": good[:len(good)/2],
			"flipped": flipped, "with more behind": append(bytes.Clone(good), "more"...),
		} {
			for _, n := range []*cluster.Node{c.Leader(), c.Followers()[0]} {
				if err := restore(n, bad); !structs.IsCode(err, structs.Corrupt) {
					t.Errorf("%s archive through %s: got %v, want code Corrupt", name, n.Config.NodeName, err)
				}
			}
		}
		if err := c.Leader().RestoreSnapshot(t.Context(), &structs.SnapshotRequest{AllowStale: true}, bytes.NewReader(good)); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("stale restore: got %v, want code Invalid", err)
		}
		after := c.Leader().FSM().View()
		if before.Hash() != after.Hash() || c.Leader().Raft().CurrentTerm() != term {
			t.Error("a refused archive changed the cluster")
		}
		if err := restore(c.Leader(), good); err != nil {
			t.Errorf("the good archive: %v", err)
		}
		mustGet(t, c.Leader(), "k", consistent, "v")
	})
}

// A save tells what the leader has; a stale one what the asked server has.
func TestSave(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		alone := c.Followers()[0]
		isolate(c, alone)
		time.Sleep(5 * time.Second)
		if _, _, err := alone.SaveSnapshot(t.Context(), &structs.SnapshotRequest{}); !structs.IsCode(err, structs.NoLeader) {
			t.Errorf("save on a server that is cut off: got %v, want code NoLeader", err)
		}
		archive, _, err := alone.SaveSnapshot(t.Context(), &structs.SnapshotRequest{AllowStale: true})
		if err != nil {
			t.Fatalf("stale save: %v", err)
		}
		if n, err := io.Copy(io.Discard, archive); n == 0 || err != nil {
			t.Errorf("stale save: %d bytes, %v", n, err)
		}
		archive.Close()
		c.Net.Heal()
	})
}

// A snapshot that is under way when another state is restored does not take the
// place of it: the leader would no longer know where its log begins.
func TestRestoreOvertakesASnapshot(t *testing.T) {
	t.Parallel()
	var gate atomic.Pointer[chan struct{}]
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "saved")
		leader := c.Leader()
		archive := save(t, leader)
		c.Put("k", "later")
		hold := make(chan struct{})
		gate.Store(&hold)
		taken := make(chan error, 1)
		go func() { taken <- leader.Raft().Snapshot().Error() }()
		synctest.Wait()
		restored := restore(leader, archive)
		close(hold)
		if restored != nil {
			t.Fatal(restored)
		}
		if err := <-taken; err == nil {
			t.Error("the older snapshot was taken")
		}
		for _, n := range c.Nodes {
			if err := put(n, "k2", "v"); err != nil {
				t.Errorf("a write through %s: %v", n.Config.NodeName, err)
			}
		}
		if got := c.Get("k"); got != "saved" {
			t.Errorf("got %q, want what was restored", got)
		}
		c.Agree()
	}, func(_ int, config *rpcserver.Config) {
		config.Raft.AroundWrite = func(what string, write func() error) error {
			if what == "snapshot" {
				if hold := gate.Swap(nil); hold != nil {
					<-*hold
				}
			}
			return write()
		}
	})
}

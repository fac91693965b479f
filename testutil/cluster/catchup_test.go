package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/testutil/cluster"
)

// smallLogs makes servers take snapshots often and keep few entries behind them.
func smallLogs(_ int, c *rpcserver.Config) {
	c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval, c.Raft.TrailingLogs = 32, 2*time.Second, 8
}

// A follower that fell so far behind that the entries it needs are gone gets a
// snapshot, and those who wait on its state are woken.
func TestFollowerIsBroughtUpBySnapshot(t *testing.T) {
	t.Parallel()
	for _, crashed := range []bool{false, true} {
		t.Run(fmt.Sprintf("crashed %v", crashed), func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				c.Put("k", "old")
				c.Put("gone", "1")
				c.Agree()
				behind := c.Followers()[0]
				var woken <-chan answer
				if crashed {
					behind.Crash()
				} else {
					woken = wait(t.Context(), behind, "k", blockingRead(stale, 1<<40, 10*time.Minute))
					isolate(c, behind)
				}
				leader := c.Client(others(c, behind)...).KV()
				for i := range 150 {
					if err := leader.Put(t.Context(), fmt.Sprintf("more/%03d", i), []byte("v")); err != nil {
						t.Fatal(err)
					}
				}
				if err := leader.DeleteTree(t.Context(), "gone"); err != nil {
					t.Fatal(err)
				}
				if err := leader.Put(t.Context(), "k", []byte("new")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second) // for the leader to cut its log
				if crashed {
					behind.Start()
				} else {
					c.Net.Heal()
				}
				c.Agree()
				if got := behind.Raft().Stats()["last_snapshot_index"]; got == "0" {
					t.Error("no snapshot was installed: this test shows nothing")
				}
				mustGet(t, behind, "k", stale, "new")
				mustGet(t, behind, "gone", stale, "")
				if !crashed {
					if got := <-woken; got.err != nil || string(got.Entries[0].Value) != "new" {
						t.Errorf("the reader that waited got %+v, %v, want the new value", got.Entries, got.err)
					}
				}
			}, smallLogs)
		})
	}
}

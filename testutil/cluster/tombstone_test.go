package cluster_test

import (
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// reaped waits until there are no tombstones and fails if that is not between
// the two times after start.
func reaped(t testing.TB, c *cluster.Cluster, start time.Time, atLeast, atMost time.Duration) {
	t.Helper()
	for c.Leader().FSM().Store().Read().HasTombstones() && time.Since(start) <= atMost {
		time.Sleep(time.Second)
	}
	took(t, "reaping", start, atLeast, atMost)
}

// A tombstone lives for its 15 minutes and goes at the next step of 30 s.
func TestTombstonesAreReaped(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		for range 2 {
			c.Put("dir/a", "v")
			c.Put("dir/b", "v")
			list := func() uint64 {
				_, meta, err := c.Client().KV().List(t.Context(), "dir/", nil)
				if err != nil {
					t.Fatal(err)
				}
				return meta.Index
			}
			start := time.Now()
			if err := c.Client().KV().Delete(t.Context(), "dir/b"); err != nil {
				t.Fatal(err)
			}
			deleted := list()
			time.Sleep(14 * time.Minute)
			if got := list(); got != deleted {
				t.Errorf("the index of the list went from %d to %d before the time", deleted, got)
			}
			reaped(t, c, start, 15*time.Minute, 15*time.Minute+31*time.Second)
			if got := list(); got >= deleted {
				t.Errorf("the index of the list is still %d", got)
			}
		}
	})
}

// A new leader does not know how old tombstones are: they live for at most one
// more TTL, and not for less than one.
func TestTombstonesAfterALeaderChange(t *testing.T) {
	t.Parallel()
	const ttl, step = time.Minute, 5 * time.Second
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("a", "v")
		start := time.Now()
		if err := c.Client().KV().Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl / 2)
		if err := operate(c.Leader(), "TransferLeader", c.Followers()[0]); err != nil {
			t.Errorf("transfer: %v", err)
		}
		testutil.Eventually(t, time.Minute, "a leader", func() error { return put(c.Leader(), "b", "v") })
		reaped(t, c, start, ttl, ttl/2+ttl+2*step)
		c.Agree() // reaping is in the log
		for _, n := range c.Up() {
			if n.FSM().Store().Read().HasTombstones() {
				t.Errorf("%s still has tombstones", n.Config.NodeName)
			}
		}
	}, func(_ int, c *rpcserver.Config) { c.TombstoneTTL, c.TombstoneStep = ttl, step })
}

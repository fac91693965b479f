package cluster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil/cluster"
)

func TestElection(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				c := cluster.New(t, n)
				took(t, fmt.Sprintf("first election of %d", n), start, 0, 15*time.Second)
				c.Put("k", "v")
				for _, node := range c.Up() {
					mustGet(t, node, "k", consistent, "v")
				}
				c.Agree()
			})
		})
	}
}

// A crashed leader is replaced, and the time without one is that of raft's
// election, not of some time-out on top.
func TestFailover(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("before", "1")
		old := c.Leader()
		old.Crash()
		start := time.Now()
		c.Put("after", "2")
		took(t, "failover, crash to acknowledged write,", start, time.Millisecond, 15*time.Second)
		if got := c.Get("before"); got != "1" {
			t.Errorf("an acknowledged write is %q after the failover, want 1", got)
		}
		old.Start()
		c.Agree()
		mustGet(t, old, "after", consistent, "2")
	})
}

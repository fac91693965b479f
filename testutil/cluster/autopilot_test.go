package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// A dead server makes way for the one that replaces it.
func TestDeadServerIsReplaced(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		dead := c.Followers()[0]
		dead.Crash()
		fresh := c.Add(voters(0))
		fresh.Start()
		fresh.Join(c.Leader())
		start := time.Now()
		awaitSuffrage(t, c, fresh, true)
		testutil.Eventually(t, 2*time.Minute, "the dead server is out", func() error {
			votes := suffrage(t, c.Leader())
			if _, there := votes[dead.Config.NodeID]; there || len(votes) != 3 {
				return fmt.Errorf("raft configuration: %v", votes)
			}
			return nil
		})
		took(t, "replacing a dead server", start, 0, time.Minute)
		c.Agree()
		mustGet(t, fresh, "k", stale, "v")
	})
}

// With a minimum quorum the dead stay until there are enough of the living.
func TestMinQuorum(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		dead := c.Followers()[0]
		dead.Crash()
		time.Sleep(time.Minute)
		if votes := suffrage(t, c.Leader()); !votes[dead.Config.NodeID] {
			t.Errorf("the dead server was taken out, which leaves two voters of at least three: %v", votes)
		}
		fresh := c.Add(voters(0))
		fresh.Start()
		fresh.Join(c.Leader())
		awaitSuffrage(t, c, fresh, true)
		testutil.Eventually(t, 2*time.Minute, "the dead server is out", func() error {
			if votes := suffrage(t, c.Leader()); len(votes) != 3 {
				return fmt.Errorf("raft configuration: %v", votes)
			}
			return nil
		})
	}, func(_ int, c *rpcserver.Config) { c.Autopilot.MinQuorum = 3 })
}

// More dead than living: nobody is taken out, for they may come back.
func TestMajorityIsNotCleanedUp(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		dead := c.Followers()
		c.Put("k", "v")
		for _, n := range dead {
			n.Crash()
		}
		time.Sleep(time.Minute)
		for _, n := range dead {
			n.Start()
		}
		c.Put("k", "w")
		for _, n := range c.Up() {
			awaitSuffrage(t, c, n, true)
		}
	})
}

package cluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/testutil/cluster"
)

// The only voter waits for no other leader: it leads as soon as it has started,
// with default timeouts, also when there are replicas. Where others have a vote,
// a server that comes back waits for the leader there is.
func TestOnlyVoterElectsItselfAtOnce(t *testing.T) {
	t.Parallel()
	leads := func(t *testing.T, n *cluster.Node) {
		t.Helper()
		start := time.Now()
		n.Start()
		for !n.IsLeader() {
			if time.Since(start) > time.Minute {
				t.Fatal("it does not lead after a minute")
			}
			time.Sleep(time.Millisecond)
		}
		took(t, "the election of the only voter", start, 0, 50*time.Millisecond)
	}
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 2, func(i int, c *rpcserver.Config) { c.BootstrapExpect, c.ReadReplica = 1-i, i > 0 })
		c.Put("k", "v")
		c.Agree()
		alone := c.Nodes[0]
		alone.Crash()
		leads(t, alone)
		c.Put("k", "w")
	})
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		leader, term := c.Leader(), c.Leader().Raft().CurrentTerm()
		for _, n := range c.Followers() {
			n.Crash()
			n.Start()
			time.Sleep(5 * time.Second)
		}
		c.Agree()
		if c.Leader() != leader || leader.Raft().CurrentTerm() != term {
			t.Error("a server that came back has disturbed the leader")
		}
	}, func(_ int, c *rpcserver.Config) { c.Raft.PreVoteDisabled = true }) // which would hide it
}

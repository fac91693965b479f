package cluster_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// leave takes a node out of the cluster in order.
func leave(t testing.TB, n *cluster.Node) {
	t.Helper()
	if err := n.Leave(); err != nil {
		t.Errorf("%s leaves: %v", n.Config.NodeName, err)
	}
	n.Stop()
}

func TestFollowerLeavesAndComesBack(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		n := c.Followers()[0]
		start := time.Now()
		leave(t, n)
		took(t, "leaving", start, 0, 15*time.Second)
		if _, there := suffrage(t, c.Leader())[n.Config.NodeID]; there {
			t.Error("the server that left is still in the raft configuration")
		}
		c.Put("k", "2")
		n.Start()
		n.Join(c.Leader())
		awaitSuffrage(t, c, n, true)
		took(t, "leaving, coming back and voting", start, 0, 90*time.Second)
		c.Agree()
		mustGet(t, n, "k", consistent, "2")
	})
}

// A server that is stopped while it says goodbye says that, and does not panic.
func TestStoppedWhileLeaving(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		n := c.Followers()[0]
		left := make(chan error, 1)
		go func() { left <- n.Leave() }()
		time.Sleep(10 * time.Millisecond)
		n.Crash()
		if err := <-left; !structs.IsCode(err, structs.Leaving) {
			t.Errorf("got %v, want code %v", err, structs.Leaving)
		}
		n.Start()
	})
}

// A leader that leaves hands over first: writers hardly notice.
func TestLeaderLeavesUnderLoad(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		w := startWriters(c, 8)
		time.Sleep(2 * time.Second)
		old := c.Leader()
		leave(t, old)
		time.Sleep(2 * time.Second)
		if gap := w.finish(t, c); gap > 3*pace {
			t.Errorf("nothing was written for %v, want next to no time", gap)
		}
		if _, there := suffrage(t, c.Leader())[old.Config.NodeID]; there {
			t.Error("the server that left is still in the raft configuration")
		}
	})
}

// One after another may leave, down to the last.
func TestAllButOneLeave(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "1")
		leave(t, c.Leader())
		c.Put("k", "2")
		leave(t, c.Followers()[0])
		c.Put("k", "3")
		if got := c.Get("k"); got != "3" {
			t.Errorf("got %q, want 3", got)
		}
	})
}

// A leader that is to be taken out hands over first, and the next one does it.
func TestLeaderIsTakenOut(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		old := c.Leader()
		if err := operate(old, "RaftRemovePeerByID", old); err != nil {
			t.Fatal(err)
		}
		if old.IsLeader() {
			t.Error("it still leads")
		}
		// It is alive, so the next leader gives it a place again, as a new server.
		awaitSuffrage(t, c, old, true)
		c.Put("k", "v")
		c.Agree()
	})
}

// A leader that is to be taken out, and can reach nobody, still has its place.
func TestLonelyLeaderIsNotTakenOut(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		old := c.Leader()
		isolate(c, old)
		if err := operate(old, "RaftRemovePeerByID", old); err == nil {
			t.Error("it was taken out")
		}
		knowsItsVote(t, old)
		c.Net.Heal()
		testutil.Eventually(t, 20*time.Second, "a write", func() error { return put(old, "k", "v") })
	})
}

// Nor does it take itself out when it leaves and the other one cannot take over: if
// it ended then, neither could be elected.
func TestLeaderLeavesNobodyToLead(t *testing.T) {
	t.Parallel()
	var hung [2]atomic.Bool
	hanging := func(i int, config *rpcserver.Config) {
		config.Raft.AroundWrite = func(what string, write func() error) error {
			for what == "log" && hung[i].Load() {
				time.Sleep(10 * time.Millisecond)
			}
			return write()
		}
	}
	story(t, 2, func(t *testing.T, c *cluster.Cluster) {
		old := c.Leader()
		heir := 1 - slices.Index(c.Nodes, old)
		hung[heir].Store(true)
		go put(old, "k", "never stored by the other one")
		time.Sleep(10 * time.Millisecond)
		if err := old.Leave(); err != nil {
			t.Logf("leaving: %v", err)
		}
		old.Stop()
		hung[heir].Store(false)
		old.Start()
		knowsItsVote(t, old)
		old.Join(c.Nodes[heir])
		testutil.Eventually(t, 20*time.Second, "a write", func() error { return put(old, "k", "v") })
	}, hanging)
}

func knowsItsVote(t *testing.T, n *cluster.Node) {
	t.Helper()
	for _, server := range n.Raft().GetConfiguration().Configuration().Servers {
		if string(server.ID) == n.Config.NodeID && server.Suffrage == raft.Voter {
			return
		}
	}
	t.Error("it has lost its vote, as far as it knows itself: it would never stand for election again")
}

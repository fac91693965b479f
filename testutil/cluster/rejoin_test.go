package cluster_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"

	"praetor/testutil"
	"praetor/testutil/cluster"
)

// Servers that start without finding each other in gossip, and that nobody tells
// whom to join, find each other later. A read replica has its place then too.
func TestGossipComesTogetherAgain(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		replica := c.Add(replicas(3))
		replica.Start()
		replica.Join(c.Nodes[0])
		awaitSuffrage(t, c, replica, false)
		c.Put("k", "1")
		c.Agree()
		for _, n := range c.Nodes {
			n.Crash()
		}
		var alone [][]string
		for _, n := range c.Nodes {
			alone = append(alone, []string{n.IP})
		}
		c.Net.Partition(alone...)
		for _, n := range c.Nodes {
			n.Start()
		}
		time.Sleep(time.Minute) // by then serf has given up
		for _, n := range c.Nodes {
			if got := len(n.Members()); got != 1 {
				t.Errorf("%s knows %d members: this shows nothing", n.Config.NodeName, got)
			}
		}
		c.Net.Heal()
		testutil.Eventually(t, 30*time.Second, "gossip and raft are whole", func() error {
			for _, n := range c.Nodes {
				alive := 0
				for _, m := range n.Members() {
					if m.Status == serf.StatusAlive {
						alive++
					}
				}
				if alive != len(c.Nodes) {
					return fmt.Errorf("%s knows %d members that are alive", n.Config.NodeName, alive)
				}
			}
			return put(replica, "k", "2")
		})
		awaitSuffrage(t, c, replica, false)
	})
}

// A server that the others could not reach for a while, so that it is no longer in
// raft, has its place again soon after they can.
func TestForgottenServerComesBack(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		n := c.Add()
		n.Start()
		n.Join(c.Nodes[0])
		awaitSuffrage(t, c, n, true)
		isolate(c, n)
		inRaft := func() bool {
			_, there := suffrage(t, c.Leader())[n.Config.NodeID]
			return there
		}
		time.Sleep(70 * time.Second) // serf tries again every 30 s, next in 20 to 30 s
		if inRaft() {
			t.Fatal("the server is still in raft: this test shows nothing")
		}
		c.Net.Heal()
		testutil.Eventually(t, 10*time.Second, "its place in raft", func() error {
			if !inRaft() {
				return errors.New("it has none")
			}
			return put(n, "k", "v")
		})
	})
}

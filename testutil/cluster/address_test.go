package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// awaitAddress waits until raft knows where a node is now.
func awaitAddress(t testing.TB, c *cluster.Cluster, n *cluster.Node) {
	t.Helper()
	testutil.Eventually(t, 3*time.Minute, "the new address in the raft configuration", func() error {
		var reply structs.RaftConfiguration
		if err := c.Leader().Call(context.Background(), "Operator.RaftGetConfiguration", &structs.DCSpecificRequest{}, &reply); err != nil {
			return err
		}
		for _, server := range reply.Servers {
			if server.ID == n.Config.NodeID && server.Address == n.Addr() {
				return nil
			}
		}
		return fmt.Errorf("%s is not at %s", n.Config.NodeName, n.Addr())
	})
}

// A server that comes back at another address is the one that it was.
func TestServerMoves(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for i, n := range []*cluster.Node{c.Followers()[0], c.Leader()} {
			c.Put("k", fmt.Sprint(i))
			n.Crash()
			c.Leader()
			n.IP = fmt.Sprintf("10.0.2.%d", i+1)
			start := time.Now()
			n.Start()
			n.Join(others(c, n)[0])
			awaitAddress(t, c, n)
			took(t, "moving to another address", start, 0, 2*time.Minute)
			awaitSuffrage(t, c, n, true)
			c.Agree()
			mustGet(t, n, "k", consistent, fmt.Sprint(i))
			if got := len(suffrage(t, n)); got != 3 {
				t.Errorf("%d servers in the raft configuration, want 3", got)
			}
		}
	})
}

// Nobody is where the raft configuration says: gossip knows better.
func TestAllServersMove(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		for _, n := range c.Nodes {
			n.Crash()
		}
		for i, n := range c.Nodes {
			n.IP = fmt.Sprintf("10.0.3.%d", i+1)
			n.Start()
			if i > 0 {
				n.Join(c.Nodes[0])
			}
		}
		if got := c.Get("k"); got != "v" {
			t.Errorf("got %q, want v", got)
		}
		for _, n := range c.Nodes {
			awaitAddress(t, c, n)
		}
	})
}

package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// A server that starts a cluster from a backup serves nobody before it has the
// backup's state, however early others ask it and join it.
func TestStartFrom(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		archive := save(t, c.Nodes[0])
		c.Nodes[0].Crash()

		n := c.Add(func(_ int, config *rpcserver.Config) { config.Bootstrap, config.AwaitState = true, true })
		n.Start()
		joining := c.Add()
		joining.Start()
		joining.Join(n)
		time.Sleep(5 * time.Second) // it leads by now
		for _, how := range []kind{plain, consistent, stale} {
			if _, err := get(n, "k", how); !structs.IsCode(err, structs.NoLeader) && !structs.IsCode(err, structs.NotReady) {
				t.Errorf("read %v before the state is there: got %v, want code NoLeader or NotReady", how.options(), err)
			}
		}
		if err := put(n, "early", "1"); err == nil {
			t.Error("a write before the state is there was acknowledged")
		}
		if peers := n.Raft().GetConfiguration().Configuration().Servers; len(peers) != 1 {
			t.Errorf("raft has the servers %v before the state is there, want 1", peers)
		}
		if err := n.StartFrom(t.Context(), bytes.NewReader(archive)); err != nil {
			t.Fatal(err)
		}
		mustGet(t, n, "k", consistent, "v")
		mustGet(t, joining, "k", consistent, "v")
		awaitSuffrage(t, c, joining, true)
	})
}

// Where there is another leader, StartFrom gives up in time.
func TestStartFromWithoutLeadership(t *testing.T) {
	t.Parallel()
	story(t, 0, func(t *testing.T, c *cluster.Cluster) {
		n := c.Add(func(_ int, config *rpcserver.Config) { config.AwaitState = true })
		n.Start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.StartFrom(ctx, bytes.NewReader(nil)); !structs.IsCode(err, structs.NoLeader) {
			t.Errorf("got %v, want code NoLeader", err)
		}
	})
}

// Raft refuses a restore while a change of its configuration is under way. Ours
// waits for that.
func TestRestoreWhileServersJoin(t *testing.T) {
	t.Parallel()
	story(t, 2, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		archive := save(t, c.Leader())
		for _, follower := range c.Followers() {
			c.Net.SetLink(c.Leader().IP, follower.IP, vnetDelay(100*time.Millisecond))
		}
		for i := range 4 {
			n := c.Add(replicas(0))
			n.Start()
			n.Join(c.Leader())
			time.Sleep(time.Duration(i) * 60 * time.Millisecond)
			if err := restore(c.Leader(), archive); err != nil {
				t.Errorf("restore %d: %v", i, err)
			}
			mustGet(t, c.Leader(), "k", consistent, "v")
			c.Put(fmt.Sprint("after/", i), "1")
		}
	})
}

package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// Servers that expect each other find together in any order, through any seeds,
// and those that come later join them.
func TestBootstrapExpect(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		order []int       // in which they start
		seeds map[int]int // whom each joins
		pause time.Duration
	}{
		"one seed":         {[]int{0, 1, 2, 3, 4}, map[int]int{1: 0, 2: 0, 3: 0, 4: 0}, 0},
		"a chain":          {[]int{0, 1, 2, 3, 4}, map[int]int{1: 0, 2: 1, 3: 2, 4: 3}, 0},
		"a chain, slowly":  {[]int{4, 2, 0, 1, 3}, map[int]int{2: 4, 0: 2, 1: 0, 3: 1}, 20 * time.Second},
		"two and three":    {[]int{0, 1, 2, 3, 4}, map[int]int{1: 0, 3: 2, 4: 3, 2: 1}, time.Second},
		"the last is seed": {[]int{3, 1, 0, 4, 2}, map[int]int{1: 3, 0: 1, 4: 3, 2: 0}, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := cluster.New(t, 0)
				for range 5 {
					c.Add(voters(3))
				}
				for _, i := range test.order {
					c.Nodes[i].Start()
					if seed, ok := test.seeds[i]; ok && c.Nodes[seed].Server != nil {
						c.Nodes[i].Join(c.Nodes[seed])
					}
					time.Sleep(test.pause)
				}
				start := time.Now()
				c.Put("k", "v")
				for _, n := range c.Nodes {
					awaitSuffrage(t, c, n, true)
				}
				took(t, "five voters", start, 0, 2*time.Minute)
				c.Agree()
			})
		})
	}
}

// A server that is to start a cluster does so once. Whatever it is told at
// later starts, its state stands.
func TestBootstrapOnExistingState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		alone := func(_ int, config *rpcserver.Config) { config.Bootstrap, config.BootstrapExpect = true, 0 }
		c := cluster.New(t, 1, alone)
		n := c.Nodes[0]
		c.Put("k", "v")
		second := c.Add(func(_ int, config *rpcserver.Config) { config.BootstrapExpect = 0 })
		second.Start()
		second.Join(n)
		awaitSuffrage(t, c, second, true)
		for _, change := range []cluster.Option{alone, voters(2), voters(1)} {
			change(0, &n.Config)
			n.Restart()
			if got := c.Get("k"); got != "v" {
				t.Errorf("got %q, want v", got)
			}
			if got := len(suffrage(t, c.Leader())); got != 2 {
				t.Errorf("%d servers in the raft configuration, want 2", got)
			}
			c.Agree()
		}
	})
}

// Two servers that were both told to start a cluster have two, and stay so.
func TestTwoBootstraps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 0)
		for range 2 {
			n := c.Add(func(_ int, config *rpcserver.Config) { config.Bootstrap = true })
			n.Start()
			testutil.Eventually(t, time.Minute, "a leader", func() error {
				if !n.IsLeader() {
					return fmt.Errorf("%s does not lead", n.Config.NodeName)
				}
				return put(n, "who", n.Config.NodeName)
			})
		}
		if _, err := c.Nodes[1].Server.Join([]string{c.Nodes[0].IP + ":8301"}); err == nil {
			t.Error("two clusters were joined")
		}
		time.Sleep(time.Minute)
		for _, n := range c.Nodes {
			mustGet(t, n, "who", consistent, n.Config.NodeName)
			if got := len(suffrage(t, n)); got != 1 {
				t.Errorf("%d servers in the raft configuration of %s, want 1", got, n.Config.NodeName)
			}
		}
	})
}

// A server with a copied data directory has the id of another one. Whichever
// door it knocks at, it is not let in, and the cluster does not notice.
func TestTheSameNodeIDTwice(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		c.Agree()
		for i, victim := range []*cluster.Node{c.Followers()[0], c.Leader()} {
			for _, door := range c.Nodes {
				// A cluster of its own, on the same network.
				other := c.Stranger(fmt.Sprintf("10.0.4.%d", i+1), func(_ int, config *rpcserver.Config) {
					config.NodeName = "impostor"
					config.NodeID = victim.Config.NodeID
					config.Bootstrap = true
				})
				other.Start()
				if _, err := other.Server.Join([]string{fmt.Sprintf("%s:%d", door.IP, door.Config.SerfPort)}); err == nil {
					t.Errorf("an impostor of %s was let in by %s", victim.Config.NodeName, door.Config.NodeName)
				}
				time.Sleep(5 * time.Second)
				for _, n := range c.Nodes {
					for _, m := range n.Members() {
						if m.Name == "impostor" {
							t.Errorf("%s has the impostor of %s among its members", n.Config.NodeName, victim.Config.NodeName)
						}
					}
				}
				other.Crash()
			}
		}
		if got := c.Get("k"); got != "v" {
			t.Errorf("got %q, want v", got)
		}
	})
}

// Servers that find each other all at once begin with different configurations:
// one may know of the read replica that another does not know of yet. Soon all
// have the same.
func TestBootstrapAllAtOnce(t *testing.T) {
	t.Parallel()
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			c := cluster.New(t, 0)
			var joins sync.WaitGroup
			for range 6 {
				c.Add(voters(5), replicas(5)).Start()
			}
			for _, n := range c.Nodes {
				var addrs []string
				for _, other := range others(c, n) {
					addrs = append(addrs, other.IP+":8301")
				}
				joins.Go(func() { n.Server.Join(addrs) })
			}
			joins.Wait()
			c.Leader()
			time.Sleep(5 * time.Second)
			for _, n := range c.Nodes {
				future := n.Raft().GetConfiguration()
				if err := future.Error(); err != nil {
					t.Fatal(err)
				}
				if got := future.Configuration().Servers; len(got) != 6 {
					t.Errorf("%s knows of %d servers, want 6: %v", n.Config.NodeName, len(got), got)
				}
			}
		})
	}
}

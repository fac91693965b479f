package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"praetor/testutil"
	"praetor/testutil/cluster"
)

// Faults of under 4 s on a network that then heals leave no server out: soon
// after each of them every server votes, and takes writes. Seen in Consul
// 1.21.4, in one run of four: a live server stayed out of the raft
// configuration and hung on every write.
func TestShortFaultsLeaveNobodyOut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				rng := rand.New(rand.NewPCG(seed, 0))
				for round := range 10 {
					shortFault(t, c, rng)
					healed := time.Now()
					for _, n := range c.Nodes {
						testutil.Eventually(t, 10*time.Second, fmt.Sprintf("round %d: a write through %s", round, n.Config.NodeName), func() error {
							return put(n, "k", fmt.Sprint(round))
						})
						testutil.Eventually(t, 30*time.Second, fmt.Sprintf("round %d: three voters", round), func() error {
							votes := suffrage(t, n)
							for _, other := range c.Nodes {
								if !votes[other.Config.NodeID] {
									return fmt.Errorf("%s does not vote: %v", other.Config.NodeName, votes)
								}
							}
							return nil
						})
					}
					took(t, "getting well", healed, 0, 30*time.Second)
				}
			})
		})
	}
}

// shortFault has one to three things happen one after the other, in under 4 s.
func shortFault(t *testing.T, c *cluster.Cluster, rng *rand.Rand) {
	t.Helper()
	left := time.Duration(500+rng.IntN(3400)) * time.Millisecond
	for things := 1 + rng.IntN(3); things > 0; things-- {
		at := rng.IntN(len(c.Nodes))
		n, other := c.Nodes[at], c.Nodes[(at+1+rng.IntN(2))%3]
		end := c.Net.Heal
		switch rng.IntN(4) {
		case 0:
			isolate(c, n)
		case 1:
			c.Net.Block(n.IP, other.IP)
		case 2:
			n.Crash()
			end = func() { n.Start(); n.Join(other) }
		default:
			for _, a := range c.Nodes {
				c.Net.SetLink(a.IP, n.IP, vnetDelay(300*time.Millisecond))
				defer c.Net.SetLink(a.IP, n.IP, vnetDelay(0))
			}
		}
		time.Sleep(left / time.Duration(things))
		left -= left / time.Duration(things)
		end()
	}
}

package cluster_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"

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

// A server that is said to leave while it hears nobody does not object. Gossip
// goes on saying so once it is back; it has its place all the same, also when it
// is taken out of raft meanwhile, and soon gossip knows better.
func TestSaidToLeave(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		n, leader := c.Followers()[0], c.Leader()
		for _, other := range c.Nodes {
			if other != n {
				c.Net.Block(other.IP, n.IP)
			}
		}
		if err := leader.ForceLeave(n.Config.NodeName, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		c.Net.Heal()
		status := func() serf.MemberStatus {
			for _, m := range c.Leader().Members() {
				if m.Name == n.Config.NodeName {
					return m.Status
				}
			}
			return serf.StatusNone
		}
		time.Sleep(time.Second)
		if got := status(); got != serf.StatusLeaving {
			t.Fatalf("the leader says that the server is %v: this test no longer shows anything", got)
		}
		if err := operate(c.Leader(), "RaftRemovePeerByID", n); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, 25*time.Second, "its place in raft", func() error {
			if _, there := suffrage(t, c.Leader())[n.Config.NodeID]; !there {
				return errors.New("it has none")
			}
			return put(n, "k", "v")
		})
		testutil.Eventually(t, 5*time.Second, "gossip says that it is alive", func() error {
			if got := status(); got != serf.StatusAlive {
				return fmt.Errorf("it is %v", got)
			}
			return nil
		})
		awaitSuffrage(t, c, n, true)
	})
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

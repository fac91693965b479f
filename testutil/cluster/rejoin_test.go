package cluster_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/serf/serf"

	"praetor/rpcserver"
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

// A server that gossip has not heard of is taken out of raft, which may take its time
// on a slow disk. One that comes back meanwhile is still a member, so nobody adds it.
// It is added right after.
func TestBackWhileTakenOut(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	var began, goOn chan bool
	storing := func(i int, config *rpcserver.Config) {
		if i > 0 {
			return
		}
		began, goOn = make(chan bool), make(chan bool) // channels of the bubble
		config.Raft.AroundWrite = func(what string, write func() error) error {
			if what == "log" && armed.CompareAndSwap(true, false) {
				began <- true
				<-goOn
			}
			return write()
		}
	}
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		replica := c.Add(replicas(1))
		replica.Start()
		leader := c.Nodes[0]
		replica.Join(leader)
		awaitSuffrage(t, c, replica, false)
		replica.Crash()
		leader.Crash()
		leader.Start()
		testutil.Eventually(t, 10*time.Second, "a write", func() error { return put(leader, "k", "v") })
		armed.Store(true)
		<-began
		time.Sleep(1500 * time.Millisecond) // until autopilot has decided
		replica.Start()
		replica.Join(leader)
		time.Sleep(2 * time.Second)
		if _, there := suffrage(t, leader)[replica.Config.NodeID]; !there {
			t.Fatal("it is out before the entry is stored: this shows nothing")
		}
		removed := make(chan raft.Observation, 1)
		leader.Raft().RegisterObserver(raft.NewObserver(removed, false, func(o *raft.Observation) bool {
			peer, ok := o.Data.(raft.PeerObservation)
			return ok && peer.Removed && string(peer.Peer.ID) == replica.Config.NodeID
		}))
		close(goOn)
		select {
		case <-removed:
		case <-time.After(time.Second):
			t.Fatal("it was not taken out: this shows nothing")
		}
		back := time.Now()
		awaitSuffrage(t, c, replica, false)
		took(t, "its place in raft", back, 0, 20*time.Second)
	}, storing)
}

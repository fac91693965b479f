package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
	"praetor/testutil/cluster"
)

// A leader that was cut off does not know that it no longer leads. For a moment
// it may answer a plain read from what it has, but never a consistent one.
func TestConsistentReadsAreNeverStale(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		old := c.Leader()
		isolate(c, old)
		cut := time.Now()
		var reads sync.WaitGroup
		for i := range 60 {
			reads.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if got, err := get(old, "k", consistent); err == nil {
					t.Errorf("%v after the cut, the old leader answered %q", time.Since(cut), got)
				}
			})
		}
		time.Sleep(5 * time.Second)
		majority := others(c, old)[0]
		if err := put(majority, "k", "new"); err != nil {
			t.Errorf("the majority does not write: %v", err)
		}
		mustGet(t, majority, "k", consistent, "new")
		reads.Wait()
		c.Net.Heal()
		c.Agree() // autopilot may have taken the old leader out meanwhile
		mustGet(t, old, "k", consistent, "new")
	})
}

// While leadership is handed over, the successor may be at work before its
// predecessor hears of it. A read replica on the predecessor's side of a broken
// wire must not help it to a proof.
func TestConsistentReadsDuringHandover(t *testing.T) {
	t.Parallel()
	story(t, 4, func(t *testing.T, c *cluster.Cluster) {
		for try := range 20 {
			value := fmt.Sprint(try)
			c.Put("k", "old")
			c.Agree()
			old, heir := twoLeaders(c, try)
			if heir != nil {
				if err := put(heir, "k", value); err != nil {
					t.Fatalf("the new leader does not write: %v", err)
				}
				if got, err := get(old, "k", consistent); err == nil && got != value {
					t.Errorf("the old leader answered %q to a consistent read", got)
				}
				c.Net.Heal()
				mustGet(t, old, "k", consistent, value)
				return
			}
			c.Net.Heal()
			time.Sleep(10 * time.Second)
		}
		t.Fatal("there never were two leaders: this test shows nothing")
	}, voters(3), replicas(3))
}

// twoLeaders tries to have one server lead that does not hear the other voters,
// and one of those lead them; heir is nil if it does not come to that. The word
// to the heir travels for 50ms, after a dial of 50ms or on a connection that is
// there: depending on try, the wire back is cut in time for the one or the other.
func twoLeaders(c *cluster.Cluster, try int) (old, heir *cluster.Node) {
	old = c.Leader()
	var heirs []*cluster.Node
	for _, n := range others(c, old) {
		if !n.Config.ReadReplica {
			heirs = append(heirs, n)
			c.Net.SetLink(old.IP, n.IP, vnetDelay(50*time.Millisecond))
			defer c.Net.SetLink(old.IP, n.IP, vnetDelay(0))
		}
	}
	go operate(old, "TransferLeader", heirs[0])
	time.Sleep(time.Duration(25+try%2*50) * time.Millisecond)
	for _, n := range heirs {
		c.Net.Block(n.IP, old.IP)
		c.Net.Block(n.IP, c.Nodes[3].IP)
	}
	time.Sleep(150 * time.Millisecond)
	if heirs[0].IsLeader() && old.IsLeader() {
		heir = heirs[0]
	}
	return old, heir
}

// Reads that come at the same time need one proof of leadership, or two, but
// not one each.
func TestConsistentReadsShareProofs(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		leader := c.Leader()
		const delay = 20 * time.Millisecond
		for _, a := range c.Up() {
			for _, b := range others(c, a) {
				c.Net.SetLink(a.IP, b.IP, vnetDelay(delay))
			}
		}
		time.Sleep(time.Second)
		before := leader.Proofs()
		start := time.Now()
		var reads sync.WaitGroup
		for range 500 {
			reads.Go(func() { mustGet(t, leader, "k", consistent, "v") })
		}
		reads.Wait()
		took(t, "500 consistent reads", start, 0, 5*delay)
		if proofs := leader.Proofs() - before; proofs > 2 {
			t.Errorf("500 reads at once needed %d proofs, want 1 or 2", proofs)
		}
	})
}

// A consistent read sees every write that was acknowledged before it, through
// whatever server.
func TestConsistentReadSeesTheLastWrite(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for i := range 60 {
			if i == 20 {
				c.Leader().Restart()
			}
			if i == 40 {
				if err := operate(c.Leader(), "TransferLeader", c.Followers()[0]); err != nil {
					t.Errorf("transfer: %v", err)
				}
			}
			up := c.Up()
			value := fmt.Sprint(i)
			if err := put(up[i%3], "k", value); err != nil {
				if !structs.IsCode(err, structs.Unclear) {
					t.Errorf("write %d: %v", i, err)
				}
				continue
			}
			mustGet(t, up[(i+1)%3], "k", consistent, value)
		}
	})
}

// A consistent query that is to wait for less time than the proof of leadership
// takes waits for the proof all the same, and answers.
func TestConsistentQueryWithShortWait(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		for _, from := range c.Nodes {
			for _, to := range c.Nodes {
				c.Net.SetLink(from.IP, to.IP, vnetDelay(50*time.Millisecond))
			}
		}
		for _, n := range c.Nodes {
			q := consistent.options()
			q.MinQueryIndex, q.MaxQueryTime = 1<<40, 10*time.Millisecond
			reply, err := read(t.Context(), n, "k", q)
			if err != nil || len(reply.Entries) != 1 {
				t.Errorf("%s: got %d entries, %v", n.Config.NodeName, len(reply.Entries), err)
			}
		}
	})
}

// A voter that does not answer any more is demoted while leadership is being
// proven, and with it the majority that was asked. The read is answered all the
// same, and those after it.
func TestProofWhileTheQuorumShrinks(t *testing.T) {
	t.Parallel()
	story(t, 2, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		leader, other := c.Leader(), c.Followers()[0]
		time.Sleep(5 * time.Second)
		isolate(c, other)
		asked := wait(t.Context(), leader, "k", consistent.options())
		time.Sleep(10 * time.Millisecond)
		if err := leader.Raft().DemoteVoter(raft.ServerID(other.Config.NodeID), 0, time.Second).Error(); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-asked:
			if got.err != nil {
				t.Errorf("the read: %v", got.err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the read has no answer")
		}
		if !leader.IsLeader() {
			t.Error("it leads no more: this test no longer shows anything")
		}
		c.Net.Heal()
	})
}

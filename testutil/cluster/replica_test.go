package cluster_test

import (
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil/cluster"
)

// A read replica has everything and decides nothing, whoever leads.
func TestReadReplica(t *testing.T) {
	t.Parallel()
	story(t, 4, func(t *testing.T, c *cluster.Cluster) {
		replica := c.Nodes[3]
		awaitSuffrage(t, c, replica, false)
		c.Put("k", "1")
		c.Agree()
		mustGet(t, replica, "k", stale, "1")
		mustGet(t, replica, "k", consistent, "1")

		if err := operate(c.Leader(), "TransferLeader", replica); !structs.IsCode(err, structs.Conflict) {
			t.Errorf("leadership for a replica: got %v, want code Conflict", err)
		}
		if err := operate(c.Leader(), "RaftPromotePeer", replica); !structs.IsCode(err, structs.Conflict) {
			t.Errorf("a vote for a replica: got %v, want code Conflict", err)
		}
		heir := c.Followers()[0]
		if heir == replica {
			heir = c.Followers()[1]
		}
		if err := operate(c.Leader(), "TransferLeader", heir); err != nil {
			t.Errorf("transfer: %v", err)
		}
		time.Sleep(25 * time.Second) // long enough for autopilot to do something foolish
		awaitSuffrage(t, c, replica, false)

		// Two of three voters gone: the replica does not make up for them.
		var down []*cluster.Node
		for _, n := range others(c, replica)[:2] {
			n.Crash()
			down = append(down, n)
		}
		time.Sleep(5 * time.Second)
		if err := put(replica, "k", "2"); err == nil {
			t.Error("a write went through with one of three voters")
		}
		mustGet(t, replica, "k", stale, "1")
		down[0].Start() // two of three: the majority is back
		c.Put("k", "3")
		replica.Crash()
		c.Put("k", "4") // nor is it missed
		replica.Start()
		down[1].Start()
		awaitSuffrage(t, c, replica, false)
	}, voters(3), replicas(3))
}

// A voter that comes back as a read replica loses its vote, even if it leads.
func TestVoterBecomesReplica(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for _, lead := range []bool{false, true} {
			n := c.Followers()[0]
			n.Config.ReadReplica = true
			n.Restart()
			if lead {
				if err := operate(n, "TransferLeader", n); err != nil {
					t.Errorf("transfer to the replica to be: %v", err)
				}
			}
			awaitSuffrage(t, c, n, false)
			if n.IsLeader() {
				t.Error("a server without a vote leads")
			}
			c.Put("k", "v")
			n.Config.ReadReplica = false
			n.Restart()
			awaitSuffrage(t, c, n, true)
		}
	})
}

// What an operator decided about a vote stays, until an operator decides again.
func TestOperatorDemotesAndPromotes(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		n, leader := c.Followers()[0], c.Leader()
		if err := operate(leader, "RaftDemotePeer", leader); !structs.IsCode(err, structs.Conflict) {
			t.Errorf("demote the leader: got %v, want code Conflict", err)
		}
		if err := operate(n, "RaftDemotePeer", n); err != nil {
			t.Fatalf("demote: %v", err)
		}
		time.Sleep(25 * time.Second)
		awaitSuffrage(t, c, n, false)
		if err := operate(c.Leader(), "TransferLeader", c.Followers()[len(c.Followers())-1]); err != nil && !structs.IsCode(err, structs.Conflict) {
			t.Errorf("transfer: %v", err)
		}
		n.Restart()
		time.Sleep(25 * time.Second)
		awaitSuffrage(t, c, n, false)
		if err := operate(n, "RaftPromotePeer", n); err != nil {
			t.Fatalf("promote: %v", err)
		}
		awaitSuffrage(t, c, n, true)
	})
}

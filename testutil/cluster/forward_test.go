package cluster_test

import (
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil/cluster"
)

// Every server takes every request.
func TestForwarding(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for _, n := range c.Up() {
			key := n.Config.NodeName
			if err := put(n, key, "v"); err != nil {
				t.Errorf("put through %s: %v", key, err)
			}
			mustGet(t, n, key, plain, "v")
			mustGet(t, n, key, consistent, "v")
		}
		c.Agree()
		for _, n := range c.Up() {
			mustGet(t, n, "node0", stale, "v")
		}
	})
}

// A follower that is cut off answers what it may answer alone, and says that
// there is no leader to all else, when the hold time is over.
func TestFollowerCutOff(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		c.Agree()
		alone := c.Followers()[0]
		isolate(c, alone)
		time.Sleep(5 * time.Second) // for raft to notice
		if err := put(c.Leader(), "k", "new"); err != nil {
			t.Errorf("the majority does not write: %v", err)
		}
		mustGet(t, alone, "k", stale, "old")
		hold := alone.Config.RPCHoldTimeout
		for _, how := range []kind{plain, consistent} {
			start := time.Now()
			if _, err := get(alone, "k", how); !structs.IsCode(err, structs.NoLeader) {
				t.Errorf("got %v, want code NoLeader", err)
			}
			took(t, "refusal of a read", start, hold*3/4, hold)
		}
		start := time.Now()
		if err := put(alone, "k", "mine"); !structs.IsCode(err, structs.NoLeader) {
			t.Errorf("got %v, want code NoLeader", err)
		}
		took(t, "refusal of a write", start, hold*3/4, hold)
		c.Net.Heal()
		c.Agree()
		mustGet(t, alone, "k", stale, "new")
		mustGet(t, alone, "k", plain, "new")
	})
}

// A request that is on its way to the leader when the wire is cut does not wait
// for a leader that it cannot reach.
func TestFollowerIsCutOffMidway(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		alone := c.Followers()[0]
		mustGet(t, alone, "k", plain, "v") // so that there is a connection
		isolate(c, alone)
		results := make(chan error, 2)
		start := time.Now()
		go func() { _, err := get(alone, "k", plain); results <- err }()
		go func() { results <- put(alone, "k", "w") }()
		for range 2 {
			err := <-results
			if !structs.IsCode(err, structs.NoLeader) && !structs.IsCode(err, structs.Unclear) {
				t.Errorf("got %v, want code NoLeader or Unclear", err)
			}
			took(t, "giving up", start, time.Second, 12*time.Second)
		}
		c.Net.Heal()
	})
}

// The stale answer says how stale it may be.
func TestStaleMeta(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		leader, alone := c.Leader(), c.Followers()[0]
		reply, err := read(t.Context(), leader, "k", stale.options())
		if err != nil || !reply.KnownLeader || reply.LastContact != 0 {
			t.Errorf("leader: got %+v, %v, want a known leader and no time since", reply.QueryMeta, err)
		}
		isolate(c, alone)
		time.Sleep(10 * time.Second)
		reply, err = read(t.Context(), alone, "k", stale.options())
		if err != nil || reply.KnownLeader || reply.LastContact < 9*time.Second || reply.LastContact > 11*time.Second {
			t.Errorf("cut off: got %+v, %v, want no known leader and about 10s since", reply.QueryMeta, err)
		}
		c.Net.Heal()
	})
}

// A client whose server has fallen silent goes to another one, and stays there.
func TestClientLeavesASilentServer(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		silent := c.Followers()[0]
		kv := c.Client(append([]*cluster.Node{silent}, others(c, silent)...)...).KV()
		if err := kv.Put(t.Context(), "k", []byte("1")); err != nil {
			t.Fatal(err)
		}
		isolate(c, silent)
		start := time.Now()
		if _, _, err := kv.Get(t.Context(), "k", nil); err != nil {
			t.Errorf("the first call: %v", err)
		}
		took(t, "giving a server up", start, 0, 9*time.Second)
		start = time.Now()
		if _, _, err := kv.Get(t.Context(), "k", nil); err != nil {
			t.Errorf("the second call: %v", err)
		}
		took(t, "the second call", start, 0, 100*time.Millisecond)
		c.Net.Heal()
	})
}

// A write for a leader that has fallen silent is not held until gossip notices:
// soon after there is another leader, its outcome is unclear, or it is made
// there if it was never sent.
func TestForwardedWriteToASilentLeader(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		old := c.Leader()
		follower := c.Followers()[0]
		isolate(c, old)
		start := time.Now()
		err := put(follower, "k", "w")
		if took := time.Since(start); err != nil && !structs.IsCode(err, structs.Unclear) || took > 5*time.Second {
			t.Errorf("got %v after %v, want success or an unclear outcome within 5s", err, took)
		}
		if err := put(follower, "k", "x"); err != nil {
			t.Errorf("the next write: %v", err)
		}
		c.Net.Heal()
		mustGet(t, old, "k", consistent, "x")
	})
}

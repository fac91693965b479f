package cluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/testutil/cluster"
)

// A server of another cluster that now has the address of one of ours must not
// take orders from our leader, which looks for the one that was there.
func TestRaftIsNotTakenFromStrangers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		c.Put("ours", "1")
		gone := c.Followers()[0]
		gone.Crash()
		stranger := c.Add(func(_ int, config *rpcserver.Config) {
			config.NodeName, config.Datacenter, config.Bootstrap = "stranger", "dc2", true
		})
		stranger.IP = gone.IP
		stranger.Start()
		time.Sleep(time.Minute)
		if !stranger.IsLeader() {
			t.Error("the stranger does not lead its own cluster")
		}
		if e := stranger.FSM().Store().Read().KV("ours"); e != nil {
			t.Errorf("the stranger has our key: %+v", e)
		}
		stranger.Crash()
		gone.Start()
		c.Put("ours", "2")
		c.Agree()
	})
}

// Two clusters that are told to join stay two, and both go on.
func TestTwoClustersAreNeverMerged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		c.Put("ours", "1")
		other := c.Add(func(_ int, config *rpcserver.Config) { config.NodeName, config.Bootstrap = "other", true })
		other.Start()
		time.Sleep(10 * time.Second)
		for _, n := range c.Nodes[:3] {
			if _, err := other.Server.Join([]string{n.IP + ":8301"}); err == nil {
				t.Errorf("the other cluster joined %s", n.Config.NodeName)
			}
			if _, err := n.Server.Join([]string{other.IP + ":8301"}); err == nil {
				t.Errorf("%s joined the other cluster", n.Config.NodeName)
			}
		}
		time.Sleep(2 * time.Minute)
		if !other.IsLeader() || len(other.Members()) != 1 {
			t.Errorf("the other cluster: leads %t, members %v", other.IsLeader(), other.Members())
		}
		if e := other.FSM().Store().Read().KV("ours"); e != nil {
			t.Errorf("the other cluster has our key: %+v", e)
		}
		other.Crash()
		c.Put("ours", "2")
		c.Agree()
	})
}

// A restored snapshot of another cluster does not make this one the other.
func TestClusterIDSurvivesARestore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		before := c.Leader().FSM().Store().Read().MetadataValue("praetor-cluster-id")
		other := c.Add(func(_ int, config *rpcserver.Config) { config.NodeName, config.Bootstrap = "other", true })
		other.Start()
		time.Sleep(10 * time.Second)
		archive := save(t, other)
		other.Crash()
		if err := restore(c.Followers()[0], archive); err != nil {
			t.Fatal(err)
		}
		c.Put("k", "v")
		c.Agree()
		if after := c.Leader().FSM().Store().Read().MetadataValue("praetor-cluster-id"); before == "" || after != before {
			t.Errorf("the cluster id was %q and is %q", before, after)
		}
		for _, n := range c.Nodes[:3] {
			n.Restart()
		}
		c.Put("k", "w")
		c.Agree()
	})
}

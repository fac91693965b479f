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

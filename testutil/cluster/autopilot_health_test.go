package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// serverHealth asks for the health of the servers through one of them.
func serverHealth(n *cluster.Node) (reply structs.OperatorHealthReply, err error) {
	err = n.Call(context.Background(), "Operator.ServerHealth", &structs.DCSpecificRequest{}, &reply)
	return reply, err
}

// Any server tells the health of all, soon after there is a leader; a server
// that fails makes the cluster unhealthy until it is back.
func TestServerHealth(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		start := time.Now()
		awaitHealth := func(want bool, tolerance int) (reply structs.OperatorHealthReply) {
			t.Helper()
			testutil.Eventually(t, time.Minute, "the health of the servers", func() (err error) {
				if reply, err = serverHealth(c.Followers()[0]); err != nil {
					return err
				}
				if reply.Healthy != want || reply.FailureTolerance != tolerance || len(reply.Servers) != 3 {
					return fmt.Errorf("got %+v", reply)
				}
				return nil
			})
			return reply
		}
		reply := awaitHealth(true, 1)
		took(t, "health after a start", start, 0, 15*time.Second)
		leaders := 0
		for i, s := range reply.Servers {
			if s.Name != fmt.Sprintf("node%d", i) || s.SerfStatus != 1 || !s.Healthy || !s.Voter || s.LastTerm == 0 || s.LastIndex == 0 || s.StableSince.IsZero() {
				t.Errorf("got %+v", s)
			}
			if s.Leader {
				leaders++
			}
		}
		if leaders != 1 {
			t.Errorf("got %d leaders", leaders)
		}

		var state structs.AutopilotState
		if err := c.Followers()[0].Call(context.Background(), "Operator.AutopilotState", &structs.DCSpecificRequest{}, &state); err != nil {
			t.Fatal(err)
		}
		if !state.Healthy || len(state.Voters) != 3 || state.Servers[state.Leader].State != "leader" || state.Servers[state.Leader].Server.Meta["role"] != "consul" {
			t.Errorf("state: got %+v", state)
		}

		dead := c.Followers()[0]
		dead.Crash()
		reply = awaitHealth(false, 0)
		for _, s := range reply.Servers {
			if s.Healthy != (s.ID != dead.Config.NodeID) {
				t.Errorf("with a dead server: got %+v", s)
			}
		}
		dead.Start()
		awaitHealth(true, 1)
	})
}

// A server that is taken for stable at once gets its vote within seconds.
func TestNewServerVotesWithinSeconds(t *testing.T) {
	t.Parallel()
	quick := func(_ int, c *rpcserver.Config) { c.Autopilot.ServerStabilizationTime = time.Millisecond }
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		time.Sleep(5 * time.Second)
		fresh := c.Add(voters(0), quick)
		fresh.Start()
		start := time.Now()
		fresh.Join(c.Leader())
		awaitSuffrage(t, c, fresh, true)
		took(t, "becoming a voter", start, 0, 4*time.Second)
	}, quick)
}

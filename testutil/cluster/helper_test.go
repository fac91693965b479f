package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
	"praetor/testutil/vnet"
)

// story tells a story about a fresh cluster of n servers in virtual time, and
// asks at its end that all servers agree.
func story(t *testing.T, n int, tell func(t *testing.T, c *cluster.Cluster), options ...cluster.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, n, options...)
		tell(t, c)
		c.Agree()
	})
}

// kind is how a read is to be answered.
type kind int

const (
	plain kind = iota // the default: by the leader
	stale
	consistent
)

func (k kind) options() structs.QueryOptions {
	return structs.QueryOptions{AllowStale: k == stale, RequireConsistent: k == consistent}
}

// get reads a key through one server and returns its value, "" if it is not there.
func get(n *cluster.Node, key string, how kind) (string, error) {
	reply, err := read(context.Background(), n, key, how.options())
	if err != nil || len(reply.Entries) == 0 {
		return "", err
	}
	return string(reply.Entries[0].Value), nil
}

// read reads a key through one server.
func read(ctx context.Context, n *cluster.Node, key string, q structs.QueryOptions) (reply structs.IndexedDirEntries, err error) {
	err = n.Call(ctx, "KV.Get", &structs.KeyRequest{Key: key, QueryOptions: q}, &reply)
	return reply, err
}

// put sets a key through one server, once.
func put(n *cluster.Node, key, value string) error {
	request := structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: key, Value: []byte(value)}}
	return n.Call(context.Background(), "KV.Apply", &request, new(bool))
}

// mustGet fails unless the key has the value.
func mustGet(t testing.TB, n *cluster.Node, key string, how kind, want string) {
	t.Helper()
	if got, err := get(n, key, how); err != nil || got != want {
		t.Errorf("%s: get %s: got %q, %v, want %q", n.Config.NodeName, key, got, err, want)
	}
}

// took fails unless the time since start lies between the two.
func took(t testing.TB, what string, start time.Time, atLeast, atMost time.Duration) {
	t.Helper()
	d := time.Since(start)
	t.Logf("%s took %v of virtual time", what, d)
	if d < atLeast || d > atMost {
		t.Errorf("%s took %v, want %v to %v", what, d, atLeast, atMost)
	}
}

// isolate cuts nodes off from everyone else, clients too.
func isolate(c *cluster.Cluster, nodes ...*cluster.Node) {
	var ips []string
	for _, n := range nodes {
		ips = append(ips, n.IP)
	}
	c.Net.Partition(ips)
}

// others are the running nodes but this one.
func others(c *cluster.Cluster, n *cluster.Node) (rest []*cluster.Node) {
	for _, m := range c.Up() {
		if m != n {
			rest = append(rest, m)
		}
	}
	return rest
}

// operate calls an operator method about one server through another.
func operate(n *cluster.Node, method string, about *cluster.Node) error {
	return n.Call(context.Background(), "Operator."+method, &structs.RaftPeerRequest{ID: about.Config.NodeID}, newReply(method))
}

func newReply(method string) any {
	if method == "TransferLeader" {
		return new(structs.LeadershipTransfer)
	}
	return new(struct{})
}

// suffrage says of each server in the raft configuration whether it votes.
func suffrage(t testing.TB, n *cluster.Node) map[string]bool {
	t.Helper()
	var reply structs.RaftConfiguration
	testutil.Eventually(t, time.Minute, "the raft configuration", func() error {
		reply = structs.RaftConfiguration{}
		return n.Call(context.Background(), "Operator.RaftGetConfiguration", &structs.DCSpecificRequest{}, &reply)
	})
	votes := map[string]bool{}
	for _, server := range reply.Servers {
		votes[server.ID] = server.Voter
	}
	return votes
}

// awaitSuffrage waits until the node is in the raft configuration with or
// without a vote.
func awaitSuffrage(t testing.TB, c *cluster.Cluster, n *cluster.Node, want bool) {
	t.Helper()
	testutil.Eventually(t, 2*time.Minute, fmt.Sprintf("%s votes: %v", n.Config.NodeName, want), func() error {
		votes, known := suffrage(t, c.Leader())[n.Config.NodeID]
		if !known || votes != want {
			return fmt.Errorf("in the configuration: %v, votes: %v", known, votes)
		}
		return nil
	})
}

// voters changes how many servers a new cluster waits for.
func voters(n int) cluster.Option {
	return func(_ int, c *rpcserver.Config) { c.BootstrapExpect = n }
}

// replicas makes the nodes from the i-th on read replicas.
func replicas(from int) cluster.Option {
	return func(i int, c *rpcserver.Config) { c.ReadReplica = i >= from }
}

func vnetDelay(d time.Duration) vnet.Link { return vnet.Link{Delay: d} }

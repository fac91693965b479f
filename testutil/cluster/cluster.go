// Package cluster runs whole clusters of servers inside one test, in virtual
// time: use it inside synctest.Test. Servers talk over package vnet and keep
// their data in directories of the test, so they can be crashed and restarted.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/vnet"
)

// Cluster is a set of servers on one virtual network.
type Cluster struct {
	t     testing.TB
	Net   *vnet.Network
	Nodes []*Node

	// Differ says that this test makes states differ. In every other, a server
	// that finds its state to differ from the others' fails the test.
	Differ bool
}

// Node is one machine of a cluster. Its server may be down.
type Node struct {
	*rpcserver.Server // nil while down
	Config            rpcserver.Config
	IP                string
	cluster           *Cluster
	life              atomic.Pointer[Life]
}

// Life is one process of a node, from start to crash.
type Life struct {
	*rpcserver.Server
	Number uint64 // 1 is the first
}

// Life is the process that runs, nil while there is none. Unlike the Server of
// the node it may be asked for while another goroutine crashes or starts it.
func (n *Node) Life() *Life {
	if life := n.life.Load(); life != nil && life.Server != nil {
		return life
	}
	return nil
}

// begin notes that the node's server is another; nil is none.
func (n *Node) begin(server *rpcserver.Server) {
	n.Server = server
	next := &Life{Server: server, Number: 1}
	if last := n.life.Load(); last != nil {
		next.Number = last.Number + 1
	}
	n.life.Store(next)
}

// verifyEntries is after how many entries states are compared: often, since the
// states of tests are small.
const verifyEntries = 50

// Option changes the configuration of a node before its first start.
type Option func(i int, c *rpcserver.Config)

// New starts n servers that expect each other, joined through the first, and
// waits until they have a leader; with none, it is an empty network. Everything
// is shut down when the test ends.
func New(t testing.TB, n int, options ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Net: vnet.New(1)}
	t.Cleanup(func() { c.Net.MustBeClosed(t) })
	for i := range n {
		c.Add(append([]Option{func(_ int, config *rpcserver.Config) { config.BootstrapExpect = n }}, options...)...)
		c.Nodes[i].Start()
		if i > 0 {
			c.Nodes[i].Join(c.Nodes[0])
		}
	}
	if n > 0 {
		c.Leader()
	}
	return c
}

// Add makes one more node, without starting it.
func (c *Cluster) Add(options ...Option) *Node {
	c.t.Helper()
	node := c.machine(len(c.Nodes), options)
	c.Nodes = append(c.Nodes, node)
	return node
}

// Stranger makes a node on the same network that is not of the cluster: what it
// does is not asked for when the cluster's servers are.
func (c *Cluster) Stranger(ip string, options ...Option) *Node {
	c.t.Helper()
	node := c.machine(len(c.Nodes), options)
	node.IP = ip
	return node
}

func (c *Cluster) machine(i int, options []Option) *Node {
	c.t.Helper()
	config := rpcserver.DefaultConfig()
	config.NodeName = fmt.Sprintf("node%d", i)
	config.NodeID = fmt.Sprintf("00000000-0000-0000-0000-%012d", i)
	config.DataDir = filepath.Join(diskDir(c.t), config.NodeName)
	config.Raft.SegmentSize = 64 << 10                                     // so that there are several, and little to copy
	config.DiskFree = func(string) (uint64, error) { return 1 << 40, nil } // whatever this machine has
	config.Logger = testutil.Logger(c.t, config.NodeName)
	config.VerifyState, config.VerifyEntries = true, verifyEntries
	for _, option := range options {
		option(i, &config)
	}
	node := &Node{Config: config, IP: fmt.Sprintf("10.0.0.%d", i+1), cluster: c}
	c.t.Cleanup(func() {
		if node.Server != nil {
			node.checkState()
			node.Kill()
		}
	})
	return node
}

// diskDir is a directory of the test: in memory where the machine has that, so
// that syncs cost nothing.
func diskDir(t testing.TB) string {
	const memory = "/dev/shm"
	if dir, err := os.MkdirTemp(memory, "praetor-test-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// TryStart starts the node's server.
func (n *Node) TryStart() error {
	host := n.cluster.Net.Host(n.IP)
	transport, err := host.GossipTransport(n.Config.SerfPort)
	if err != nil {
		return err
	}
	config := n.Config
	config.BindAddr, config.AdvertiseAddr = n.IP, n.IP
	config.Network, config.GossipTransport = host, transport
	server, err := rpcserver.New(config)
	if err != nil {
		transport.Shutdown()
		return err
	}
	n.begin(server)
	return nil
}

// Start starts the node's server, which must work.
func (n *Node) Start() {
	n.cluster.t.Helper()
	if err := n.TryStart(); err != nil {
		n.cluster.t.Fatalf("start %s: %v", n.Config.NodeName, err)
	}
}

// Join has this node join the gossip of another.
func (n *Node) Join(other *Node) {
	n.cluster.t.Helper()
	if _, err := n.Server.Join([]string{fmt.Sprintf("%s:%d", other.IP, other.Config.SerfPort)}); err != nil {
		n.cluster.t.Fatalf("%s joins %s: %v", n.Config.NodeName, other.Config.NodeName, err)
	}
}

// checkState fails unless the node's state was found equal to the others'
// whenever they were compared.
func (n *Node) checkState() {
	n.cluster.t.Helper()
	if _, disputed, wrong := n.Verified(); disputed+wrong > 0 && !n.cluster.Differ {
		n.cluster.t.Errorf("%s: the servers' states differed: %d times it was in the minority, %d times nobody could tell", n.Config.NodeName, wrong, disputed)
	}
}

// Crash stops the node as kill -9 does: its connections die, nothing is said.
func (n *Node) Crash() {
	n.checkState()
	n.cluster.Net.Host(n.IP).Crash()
	n.Kill()
	n.begin(nil)
}

// Stop shuts the node's server down in order; it stays a member of the cluster.
func (n *Node) Stop() {
	n.cluster.t.Helper()
	n.checkState()
	if err := n.Shutdown(); err != nil {
		n.cluster.t.Fatalf("stop %s: %v", n.Config.NodeName, err)
	}
	n.begin(nil)
}

// Restart crashes the node and starts it again on the same data.
func (n *Node) Restart() {
	n.cluster.t.Helper()
	if n.Server != nil {
		n.Crash()
	}
	n.Start()
}

// Up are the nodes whose servers run.
func (c *Cluster) Up() []*Node {
	var up []*Node
	for _, n := range c.Nodes {
		if n.Server != nil {
			up = append(up, n)
		}
	}
	return up
}

// Leader waits until there is exactly one server that is ready to lead.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	var leader *Node
	testutil.Eventually(c.t, time.Minute, "a leader", func() error {
		leader = nil
		for _, n := range c.Up() {
			if n.IsLeader() {
				if leader != nil {
					return errors.New("two leaders")
				}
				leader = n
			}
		}
		if leader == nil {
			return errors.New("no leader")
		}
		return nil
	})
	return leader
}

// Followers are the running nodes that do not lead.
func (c *Cluster) Followers() []*Node {
	c.t.Helper()
	leader := c.Leader()
	var followers []*Node
	for _, n := range c.Up() {
		if n != leader {
			followers = append(followers, n)
		}
	}
	return followers
}

// Client returns a client, on a machine of its own, of the given nodes; of all
// that run if none is given.
func (c *Cluster) Client(nodes ...*Node) *client.Client {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.Up()
	}
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr())
	}
	cl, err := client.NewWithConfig(client.Config{Servers: addrs, Dial: c.Net.Host("10.0.1.1").Dial})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { cl.Close() })
	return cl
}

// Put sets a key through any server, trying until it is certain.
func (c *Cluster) Put(key, value string) {
	c.t.Helper()
	kv := c.Client().KV()
	testutil.Eventually(c.t, time.Minute, "put "+key, func() error {
		return kv.Put(context.Background(), key, []byte(value))
	})
}

// Get reads a key consistently through any server; "" if it is not there.
func (c *Cluster) Get(key string) string {
	c.t.Helper()
	var value string
	kv := c.Client().KV()
	testutil.Eventually(c.t, time.Minute, "get "+key, func() error {
		entry, _, err := kv.Get(context.Background(), key, &structs.QueryOptions{RequireConsistent: true})
		if value = ""; entry != nil {
			value = string(entry.Value)
		}
		return err
	})
	return value
}

// Agree waits until every running server has applied the same entries, and
// fails unless their states then hash alike.
func (c *Cluster) Agree() {
	c.t.Helper()
	testutil.Eventually(c.t, time.Minute, "equal states", func() error {
		up := c.Up()
		first := up[0]
		for _, n := range up { // before anything is hashed, which costs more
			if at, ours := n.Raft().AppliedIndex(), first.Raft().AppliedIndex(); at != ours {
				return fmt.Errorf("%s has applied %d, %s %d", n.Config.NodeName, at, first.Config.NodeName, ours)
			}
		}
		view := first.FSM().View()
		want := view.Hash()
		for _, n := range up {
			view := n.FSM().View()
			if last, applied := view.LastIndex(), n.Raft().AppliedIndex(); last > applied { // raft counts a moment later
				return fmt.Errorf("%s has a row of index %d, and has applied %d", n.Config.NodeName, last, applied)
			}
			if view.Hash() != want {
				return fmt.Errorf("%s and %s differ at index %d", n.Config.NodeName, first.Config.NodeName, n.Raft().AppliedIndex())
			}
		}
		return nil
	})
}

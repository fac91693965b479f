package cluster_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// register puts something into the catalog through one server.
func register(t testing.TB, n *cluster.Node, c *structs.RegisterRequest) {
	t.Helper()
	if c.Address == "" {
		c.Address = "10.9.9.9"
	}
	if err := n.Call(context.Background(), "Catalog.Register", c, &struct{}{}); err != nil {
		t.Fatalf("register %s: %v", c.Node, err)
	}
}

// memberNode is a registration of a node as if gossip knew it.
func memberNode(name, id string) *structs.RegisterRequest {
	return &structs.RegisterRequest{Node: name, ID: id, Check: &structs.HealthCheck{CheckID: structs.SerfHealth, Status: structs.HealthPassing}}
}

// health is what the catalog says of a node: the status of its serfHealth, or
// "gone".
func health(t testing.TB, n *cluster.Node, name string) string {
	t.Helper()
	var reply structs.IndexedHealthChecks
	if err := n.Call(context.Background(), "Health.NodeChecks", &structs.NodeSpecificRequest{Node: name}, &reply); err != nil {
		return err.Error()
	}
	for _, c := range reply.HealthChecks {
		if c.CheckID == structs.SerfHealth {
			return c.Status
		}
	}
	return "gone"
}

func awaitHealth(t testing.TB, c *cluster.Cluster, name, want string, within time.Duration) {
	t.Helper()
	testutil.Eventually(t, within, name+" is "+want, func() error {
		if got := health(t, c.Leader(), name); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

func node(t testing.TB, n *cluster.Node, name string) *structs.NodeServices {
	t.Helper()
	var reply structs.IndexedNodeServices
	if err := n.Call(context.Background(), "Catalog.NodeServices", &structs.NodeSpecificRequest{Node: name}, &reply); err != nil {
		t.Fatal(err)
	}
	return reply.NodeServices
}

// Servers are in the catalog as long as they are members, and their serfHealth
// says what gossip believes.
func TestCatalogFollowsServers(t *testing.T) {
	t.Parallel()
	withMeta := func(_ int, c *rpcserver.Config) { c.NodeMeta = map[string]string{"rack": "r1"}; c.Build = "1.2.3" }
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for _, n := range c.Nodes {
			awaitHealth(t, c, n.Config.NodeName, "passing", 10*time.Second)
		}
		time.Sleep(5 * time.Second)
		for _, n := range c.Nodes {
			got := node(t, c.Leader(), n.Config.NodeName)
			if fmt.Sprint(got.Node.Meta) != "map[consul-network-segment: consul-version:1.2.3 rack:r1]" || got.Node.ID != n.Config.NodeID || got.Node.Address != n.IP ||
				fmt.Sprint(got.Node.TaggedAddresses) != strings.ReplaceAll("map[lan:IP lan_ipv4:IP wan:IP wan_ipv4:IP]", "IP", n.IP) {
				t.Errorf("%s: got %+v", n.Config.NodeName, got.Node)
			}
			s := got.Services["consul"]
			if s == nil || s.Port != 8300 || fmt.Sprint(s.Meta) != "map[non_voter:false raft_version:3 read_replica:false serf_protocol_current:2 serf_protocol_max:5 serf_protocol_min:1 version:1.2.3]" {
				t.Errorf("%s: service: %+v", n.Config.NodeName, s)
			}
		}
		before := c.Leader().Raft().LastIndex()
		time.Sleep(3 * time.Minute)
		if after := c.Leader().Raft().LastIndex(); after != before {
			t.Errorf("%d entries were written in a cluster where nothing happens", after-before)
		}
		n := c.Followers()[0]
		n.Crash()
		awaitHealth(t, c, n.Config.NodeName, "critical", 30*time.Second)
		n.Start()
		n.Join(c.Leader())
		awaitHealth(t, c, n.Config.NodeName, "passing", 30*time.Second)
		leave(t, n)
		awaitHealth(t, c, n.Config.NodeName, "gone", 10*time.Second)
		time.Sleep(3 * time.Minute)
		if got := node(t, c.Leader(), n.Config.NodeName); got != nil {
			t.Errorf("a server that left is in the catalog again: %+v", got.Node)
		}
	}, withMeta, quietServers)
}

// A new leader goes by what gossip believes now, not by what it was told while
// another led: a failure that is long over must not end anybody's session.
func TestNewLeaderForgetsOldFailures(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		n, next := c.Followers()[0], c.Followers()[1]
		name := n.Config.NodeName
		awaitHealth(t, c, name, "passing", 10*time.Second)
		n.Crash()
		awaitHealth(t, c, name, "critical", 30*time.Second)
		n.Start()
		n.Join(c.Leader())
		awaitHealth(t, c, name, "passing", 30*time.Second)
		time.Sleep(5 * time.Second)
		before := *c.Leader().FSM().Store().Read().Check(name, structs.SerfHealth)
		if err := operate(c.Leader(), "TransferLeader", next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if after := c.Leader().FSM().Store().Read().Check(name, structs.SerfHealth); after.ModifyIndex != before.ModifyIndex {
			t.Errorf("the check was written at %d, by a leader that saw nothing happen: %+v", after.ModifyIndex, after)
		}
	})
}

// Whoever registers something on a server's node finds it there later.
func TestReconcileKeepsWhatOthersWrote(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		awaitHealth(t, c, "node1", "passing", 10*time.Second)
		register(t, c.Leader(), &structs.RegisterRequest{Node: "node1", SkipNodeUpdate: true, Service: &structs.NodeService{ID: "mine", Service: "mine"}})
		agent := startAgent(t, c, "10.0.2.1", "agent1")
		awaitHealth(t, c, "agent1", "passing", 10*time.Second)
		if got := node(t, c.Leader(), "agent1"); got.Services["consul"] != nil || got.Node.Meta["consul-version"] != "1.21.4" || got.Node.ID == "" {
			t.Errorf("a client: got %+v", got.Node)
		}
		register(t, c.Leader(), &structs.RegisterRequest{
			Node: "agent1", ID: "aaaaaaaa-0000-0000-0000-000000000001", Address: "10.0.2.1",
			NodeMeta: map[string]string{"a": "b"}, TaggedAddresses: map[string]string{"lan": "10.0.2.1"},
		})
		time.Sleep(3 * time.Minute)
		if got := node(t, c.Leader(), "agent1"); got.Node.Meta["a"] != "b" || got.Node.TaggedAddresses["lan"] != "10.0.2.1" {
			t.Errorf("the leader wrote over what the agent said of itself: %+v", got.Node)
		}
		if node(t, c.Leader(), "node1").Services["mine"] == nil {
			t.Error("a service on a server's node is gone")
		}
		agent.Shutdown()
		awaitHealth(t, c, "agent1", "critical", 30*time.Second)
		if err := c.Leader().ForceLeave("agent1", false); err != nil {
			t.Fatal(err)
		}
		awaitHealth(t, c, "agent1", "gone", 30*time.Second)
	})
}

// startAgent starts the gossip of a client agent, as Consul's would.
func startAgent(t testing.TB, c *cluster.Cluster, ip, name string) *serf.Serf {
	t.Helper()
	transport, err := c.Net.Host(ip).GossipTransport(8301)
	if err != nil {
		t.Fatal(err)
	}
	config := serf.DefaultConfig()
	config.Init()
	config.NodeName = name
	config.Tags = map[string]string{"role": "node", "dc": "dc1", "id": "aaaaaaaa-0000-0000-0000-000000000001", "build": "1.21.4criteo3:", "vsn": "2", "vsn_min": "2", "vsn_max": "3", "segment": ""}
	config.ProtocolVersion = 4
	config.Logger = log.New(io.Discard, "", 0)
	config.MemberlistConfig = memberlist.DefaultLANConfig()
	config.MemberlistConfig.Name = name
	config.MemberlistConfig.BindAddr, config.MemberlistConfig.AdvertiseAddr, config.MemberlistConfig.BindPort = ip, ip, 8301
	config.MemberlistConfig.AdvertisePort = 8301
	config.MemberlistConfig.Transport = transport
	config.MemberlistConfig.Logger = config.Logger
	s, err := serf.Create(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown() })
	if _, err := s.Join([]string{c.Nodes[0].IP + ":8301"}, true); err != nil {
		t.Fatal(err)
	}
	return s
}

// Nodes of a snapshot that gossip does not know are left alone for a while, and
// with them their sessions and locks; then they turn critical, and go only much
// later or on request.
func TestRestoreKeepsForeignNodes(t *testing.T) {
	t.Parallel()
	const grace, reap = 20 * time.Second, 90 * time.Second // less than the defaults: gossip costs time even here
	soon := func(_ int, c *rpcserver.Config) {
		c.ReconnectTimeout, c.UnknownGrace, c.ReconcileEvery = reap, grace, 5*time.Second
	}
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		awaitHealth(t, c, "node2", "passing", 10*time.Second)
		for _, name := range []string{"foreign1", "foreign2", "foreign3"} {
			register(t, c.Leader(), memberNode(name, ""))
		}
		register(t, c.Leader(), &structs.RegisterRequest{Node: "external", Address: "10.1.1.1"})
		a := newApp(t, c)
		holder := a.session(structs.Session{Node: "foreign1", NodeChecks: []string{structs.SerfHealth}})
		if !a.acquire("lock", holder) {
			t.Fatal("no lock")
		}
		archive := save(t, c.Leader())
		for _, name := range []string{"foreign1", "foreign2", "foreign3", "external"} {
			if err := c.Leader().Call(context.Background(), "Catalog.Deregister", &structs.DeregisterRequest{Node: name}, &struct{}{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := restore(c.Leader(), archive); err != nil {
			t.Fatal(err)
		}
		restored := time.Now()
		time.Sleep(grace - 5*time.Second)
		for _, name := range []string{"foreign1", "foreign2", "foreign3"} {
			if got := health(t, c.Leader(), name); got != "passing" {
				t.Errorf("%s within the grace: got %s, want passing", name, got)
			}
		}
		if row := a.entry("lock"); a.alive(holder) == nil || row == nil || row.Session != holder {
			t.Errorf("within the grace: the session is gone, or its lock: %+v", row)
		}
		awaitHealth(t, c, "foreign1", "critical", 3*time.Minute)
		took(t, "critical after the restore", restored, grace, grace+20*time.Second)
		if row := a.entry("lock"); a.alive(holder) != nil || row == nil || row.Session != "" {
			t.Errorf("of a node that is critical: the session lives, or its lock: %+v", row)
		}

		// Another restore begins anew, under the same leader too.
		if err := restore(c.Leader(), archive); err != nil {
			t.Fatal(err)
		}
		time.Sleep(grace - 5*time.Second)
		if got := health(t, c.Leader(), "foreign1"); got != "passing" {
			t.Errorf("within the grace of the second restore: got %s, want passing", got)
		}
		awaitHealth(t, c, "foreign1", "critical", 3*time.Minute)
		if err := c.Followers()[0].ForceLeave("foreign2", false); err != nil {
			t.Errorf("force-leave: %v", err)
		}
		if got := health(t, c.Leader(), "foreign2"); got != "gone" {
			t.Errorf("after force-leave: got %s", got)
		}
		agent := startAgent(t, c, "10.0.2.1", "foreign3")
		awaitHealth(t, c, "foreign3", "passing", 10*time.Second)

		// The next leader begins to count anew.
		if err := operate(c.Leader(), "TransferLeader", c.Followers()[0]); err != nil {
			t.Fatal(err)
		}
		again := time.Now()
		time.Sleep(reap - 10*time.Second)
		if got := health(t, c.Leader(), "foreign1"); got != "critical" {
			t.Errorf("before the reap time: got %s", got)
		}
		awaitHealth(t, c, "foreign1", "gone", 3*time.Minute)
		took(t, "gone after the leader changed", again, reap, reap+20*time.Second)
		if node(t, c.Leader(), "external") == nil {
			t.Error("a node that never was a member is gone")
		}
		if got := health(t, c.Leader(), "foreign3"); got != "passing" {
			t.Errorf("a node that came: got %s", got)
		}
		agent.Shutdown()
		awaitHealth(t, c, "foreign3", "critical", 30*time.Second)
		awaitHealth(t, c, "foreign3", "gone", reap+time.Minute) // gossip has forgotten it
	}, soon)
}

// A server that has the name of one in the restored snapshot takes its place,
// and what was on the node stays.
func TestServerTakesOverARestoredName(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		leader := c.Leader()
		awaitHealth(t, c, "node0", "passing", 10*time.Second)
		archive := func() []byte {
			old := cluster.New(t, 0)
			n := old.Add(func(_ int, config *rpcserver.Config) {
				config.NodeID, config.Bootstrap = "99999999-0000-0000-0000-000000000000", true
			})
			n.Start()
			old.Leader()
			awaitHealth(t, old, "node0", "passing", 10*time.Second)
			register(t, n, &structs.RegisterRequest{Node: "node0", SkipNodeUpdate: true, Service: &structs.NodeService{ID: "mine", Service: "mine"}})
			defer n.Stop()
			return save(t, n)
		}()
		if err := restore(leader, archive); err != nil {
			t.Fatal(err)
		}
		awaitHealth(t, c, "node0", "passing", time.Minute)
		time.Sleep(10 * time.Second)
		got := node(t, c.Leader(), "node0")
		if got.Node.ID != leader.Config.NodeID || got.Services["mine"] == nil || got.Node.Address != leader.IP {
			t.Errorf("got %+v with %d services, want our id and the service that was there", got.Node, len(got.Services))
		}
	})
}

// Who waits for one service is not woken by another.
func TestWatchersOfAServiceAreLeftAlone(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		instance := func(node, service string) *structs.RegisterRequest {
			return &structs.RegisterRequest{Node: node, Service: &structs.NodeService{ID: service, Service: service}}
		}
		register(t, c.Leader(), instance("n1", "web"))
		register(t, c.Leader(), instance("n2", "db"))
		read := func(index uint64) (reply structs.IndexedCheckServiceNodes) {
			q := structs.ServiceSpecificRequest{ServiceName: "web"}
			q.MinQueryIndex, q.MaxQueryTime = index, 10*time.Minute
			if err := c.Followers()[0].Call(t.Context(), "Health.ServiceNodes", &q, &reply); err != nil {
				t.Errorf("read: %v", err)
			}
			return reply
		}
		index := read(0).Index
		done := make(chan structs.IndexedCheckServiceNodes, 1)
		go func() { done <- read(index) }()
		for i := range 20 {
			register(t, c.Leader(), instance(fmt.Sprintf("n%d", i+2), "db"))
			register(t, c.Leader(), instance("n1", "web")) // changes nothing
			time.Sleep(time.Second)
		}
		select {
		case got := <-done:
			t.Fatalf("woken at index %d, waited for more than %d", got.Index, index)
		default:
		}
		start := time.Now()
		register(t, c.Leader(), &structs.RegisterRequest{Node: "n1", Check: &structs.HealthCheck{CheckID: "alive"}})
		got := <-done
		took(t, "waking", start, 0, time.Second)
		if got.Index <= index || len(got.Nodes) != 1 || len(got.Nodes[0].Checks) != 1 {
			t.Errorf("got %+v at %d", got.Nodes, got.Index)
		}
	})
}

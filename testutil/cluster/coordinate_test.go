package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// enter has the leader put a command into the log, whoever checks it otherwise.
func enter(t testing.TB, c *cluster.Cluster, command structs.Command) {
	t.Helper()
	entry, err := structs.EncodeCommand(command)
	if err != nil {
		t.Fatal(err)
	}
	future := c.Leader().Raft().Apply(entry, 10*time.Second)
	if err := future.Error(); err != nil {
		t.Fatal(err)
	}
	if err, failed := future.Response().(error); failed {
		t.Fatal(err)
	}
}

// place sends the coordinate of a node, at this many seconds along the first
// axis, through a server.
func place(t testing.TB, n *cluster.Node, node string, x float64) {
	t.Helper()
	coord := coordinate.NewCoordinate(coordinate.DefaultConfig())
	coord.Vec[0] = x
	q := structs.CoordinateUpdateRequest{Node: node, Coord: coord}
	if err := n.Call(context.Background(), "Coordinate.Update", &q, &struct{}{}); err != nil {
		t.Fatalf("place %s: %v", node, err)
	}
}

func placed(n *cluster.Node, q structs.QueryOptions) ([]*structs.Coordinate, uint64, error) {
	var reply structs.IndexedCoordinates
	err := n.Call(context.Background(), "Coordinate.ListNodes", &structs.DCSpecificRequest{QueryOptions: q}, &reply)
	return reply.Coordinates, reply.Index, err
}

// Servers find out how far they are from each other and say so; every server
// can tell.
func TestServersSendTheirCoordinates(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		start := time.Now()
		testutil.Eventually(t, time.Minute, "three coordinates", func() error {
			for _, n := range c.Nodes {
				all, _, err := placed(n, structs.QueryOptions{AllowStale: true})
				if err != nil || len(all) != 3 {
					return fmt.Errorf("%s has %d: %v", n.Config.NodeName, len(all), err)
				}
			}
			return nil
		})
		took(t, "the first coordinates of all servers", start, 0, 36*time.Second)
		var maps []structs.DatacenterMap
		if err := c.Followers()[0].Call(context.Background(), "Coordinate.ListDatacenters", &struct{}{}, &maps); err != nil {
			t.Fatal(err)
		}
		if len(maps) != 1 || len(maps[0].Coordinates) != 3 {
			t.Errorf("got %+v, want one datacenter with three servers", maps)
		}
	})
}

// near= puts rows of the catalog and of health in order of distance, in every
// server's answer; those of which it is not known come last, as they were.
func TestNear(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			enter(t, c, &structs.RegisterRequest{
				Node: name, Address: "10.1.0.1", Service: &structs.NodeService{ID: "web", Service: "web"},
				Check: &structs.HealthCheck{Node: name, CheckID: "web", ServiceID: "web", Status: structs.HealthPassing},
			})
		}
		place(t, c.Nodes[0], "a", 3)
		place(t, c.Nodes[1], "c", 1)
		place(t, c.Nodes[2], "e", 2)
		time.Sleep(6 * time.Second)
		c.Agree()
		for _, n := range c.Nodes {
			for from, want := range map[string]string{ // a and c are equally far from e
				"": "abcde", "a": "aecbd", "C": "ceabd", "e": "eacbd", "b": "bacde", "nobody": "abcde"} {
				q := structs.ServiceSpecificRequest{ServiceName: "web", Source: structs.QuerySource{Node: from}}
				q.AllowStale = true
				got := map[string]string{}
				var instances structs.IndexedServiceNodes
				var checked structs.IndexedCheckServiceNodes
				var checks structs.IndexedHealthChecks
				var nodes structs.IndexedNodes
				for method, reply := range map[string]any{
					"Catalog.ServiceNodes": &instances, "Health.ServiceNodes": &checked, "Health.ServiceChecks": &checks,
				} {
					if err := n.Call(context.Background(), method, &q, reply); err != nil {
						t.Fatalf("%s: %v", method, err)
					}
				}
				all := structs.DCSpecificRequest{Source: q.Source}
				if err := n.Call(context.Background(), "Catalog.ListNodes", &all, &nodes); err != nil {
					t.Fatal(err)
				}
				for _, row := range instances.ServiceNodes {
					got["Catalog.ServiceNodes"] += row.Node
				}
				for _, row := range checked.Nodes {
					got["Health.ServiceNodes"] += row.Node.Node
				}
				for _, row := range checks.HealthChecks {
					got["Health.ServiceChecks"] += row.Node
				}
				for _, row := range nodes.Nodes {
					if len(row.Node) == 1 { // not the servers
						got["Catalog.ListNodes"] += row.Node
					}
				}
				for method, order := range got {
					if order != want {
						t.Errorf("%s: %s near %q: got %s, want %s", n.Config.NodeName, method, from, order, want)
					}
				}
			}
		}
	}, quietServers)
}

// What is not new is not written, what is is written in batches, at its time.
func TestCoordinatesAreWrittenTogether(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		const nodes = 300
		for i := range nodes {
			enter(t, c, &structs.RegisterRequest{Node: fmt.Sprintf("n%03d", i), Address: "10.1.0.1"})
		}
		time.Sleep(time.Minute) // what the servers write about themselves is written
		_, index, err := placed(c.Nodes[0], structs.QueryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before := c.Leader().Raft().LastIndex()
		for i := range nodes {
			place(t, c.Followers()[0], fmt.Sprintf("n%03d", i), 0.1*float64(i))
		}
		// A reader that waits sees them within the writing time.
		start := time.Now()
		_, after, err := placed(c.Nodes[1], structs.QueryOptions{MinQueryIndex: index})
		if err != nil || after <= index {
			t.Fatalf("got index %d, %v, want more than %d", after, err, index)
		}
		took(t, "waiting for coordinates", start, 0, 5*time.Second+100*time.Millisecond)
		time.Sleep(time.Second)
		if all, _, err := placed(c.Nodes[2], structs.QueryOptions{}); err != nil || len(all) != nodes {
			t.Errorf("got %d coordinates, %v, want %d", len(all), err, nodes)
		}
		if entries := c.Leader().Raft().LastIndex() - before; entries != 3 {
			t.Errorf("%d coordinates took %d log entries, want 3", nodes, entries)
		}
		before = c.Leader().Raft().LastIndex()
		for i := range nodes {
			place(t, c.Followers()[1], fmt.Sprintf("n%03d", i), 0.1*float64(i))
		}
		time.Sleep(10 * time.Second)
		if entries := c.Leader().Raft().LastIndex() - before; entries != 0 {
			t.Errorf("coordinates that did not change took %d log entries, want none", entries)
		}
	}, quietServers)
}

// More than can be written is refused, and then there is room again.
func TestTooManyCoordinates(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		refused := 0
		update := func(i int) {
			q := structs.CoordinateUpdateRequest{Node: fmt.Sprintf("n%03d", i), Coord: coordinate.NewCoordinate(coordinate.DefaultConfig())}
			if err := c.Nodes[0].Call(context.Background(), "Coordinate.Update", &q, &struct{}{}); structs.IsCode(err, structs.Busy) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		for i := range 1000 {
			update(i)
		}
		update(0) // takes the place of the one that waits
		if refused != 1000-640 {
			t.Errorf("%d of 1000 were refused, want 360", refused)
		}
		time.Sleep(6 * time.Second)
		if update(999); refused != 360 {
			t.Error("refused after those before it were written")
		}
	}, quietServers)
}

// quietServers do not send coordinates of their own.
func quietServers(_ int, c *rpcserver.Config) { c.CoordinateSendEvery = 10 * time.Hour }

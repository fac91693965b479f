package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

func query(n *cluster.Node, op structs.PreparedQueryOp, q structs.PreparedQuery) (id string, err error) {
	err = n.Call(context.Background(), "PreparedQuery.Apply", &structs.PreparedQueryRequest{Op: op, Query: &q}, &id)
	return id, err
}

// executed are the nodes of the instances that a query finds, in order.
func executed(n *cluster.Node, q structs.PreparedQueryExecuteRequest) (string, error) {
	var reply structs.PreparedQueryExecuteResponse
	err := n.Call(context.Background(), "PreparedQuery.Execute", &q, &reply)
	var names []string
	for _, row := range reply.Nodes {
		names = append(names, row.Node.Node)
	}
	return strings.Join(names, " "), err
}

// Queries are made, changed and executed through any server, and go with their
// session; the leader's death changes nothing.
func TestPreparedQueries(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for _, name := range []string{"a", "b", "c"} {
			enter(t, c, &structs.RegisterRequest{Node: name, Address: "10.1.0.1", Service: &structs.NodeService{ID: "web", Service: "web", Tags: []string{name}}})
		}
		enter(t, c, &structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: "s", Node: "a"}})
		one, two := c.Followers()[0], c.Followers()[1]
		place(t, one, "a", 1)
		place(t, two, "b", 5)
		place(t, one, "c", 2)
		time.Sleep(6 * time.Second)

		near := structs.PreparedQuery{Name: "near", Service: structs.ServiceQuery{Service: "web", Near: "_agent"}}
		if _, err := query(one, structs.PreparedQueryCreate, near); err != nil {
			t.Fatal(err)
		}
		bound := structs.PreparedQuery{Session: "s", Service: structs.ServiceQuery{Service: "web", Tags: []string{"!b"}}}
		id, err := query(two, structs.PreparedQueryCreate, bound)
		if err != nil || len(id) != 36 {
			t.Fatalf("create: got %q, %v", id, err)
		}
		bound.ID, bound.Service.Tags = id, []string{"b"}
		if got, err := query(one, structs.PreparedQueryUpdate, bound); err != nil || got != id {
			t.Fatalf("update: got %q, %v", got, err)
		}
		check := func() {
			t.Helper()
			for _, n := range c.Up() {
				for _, stale := range []bool{false, true} {
					for _, test := range []struct{ query, agent, source, want string }{
						{"near", "a", "", "a c b"},
						{"NEAR", "b", "", "b c a"},
						{"near", "a", "b", "b c a"},
						{id, "", "", "b"},
					} {
						q := structs.PreparedQueryExecuteRequest{QueryIDOrName: test.query, QueryOptions: structs.QueryOptions{AllowStale: stale, MinQueryIndex: 1e9}}
						q.Agent.Node, q.Source.Node = test.agent, test.source
						if got, err := executed(n, q); err != nil || got != test.want {
							t.Errorf("%s: execute %s near %s: got %q, %v, want %q", n.Config.NodeName, test.query, test.agent+test.source, got, err, test.want)
						}
					}
				}
			}
		}
		c.Agree()
		check()
		c.Leader().Crash()
		c.Leader()
		check()

		enter(t, c, &structs.SessionRequest{Op: structs.SessionDestroy, Session: structs.Session{ID: "s"}})
		for _, n := range c.Up() {
			if _, err := executed(n, structs.PreparedQueryExecuteRequest{QueryIDOrName: id}); !structs.IsCode(err, structs.NotFound) {
				t.Errorf("%s: the query of a session that is gone: got %v, want not found", n.Config.NodeName, err)
			}
		}
		if got, err := executed(c.Up()[0], structs.PreparedQueryExecuteRequest{QueryIDOrName: "near", Limit: 2}); err != nil || len(got) != 3 {
			t.Errorf("the query that is not bound: got %q, %v, want two nodes", got, err)
		}
	}, quietServers)
}

// A query that another datacenter has is executed here, unless it is not ours
// to execute.
func TestExecuteRemote(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		for i := range 3 {
			enter(t, c, &structs.RegisterRequest{Node: fmt.Sprint("n", i), Address: "10.1.0.1", Service: &structs.NodeService{ID: "web", Service: "web"}})
		}
		run := func(q structs.PreparedQueryExecuteRemoteRequest) (int, error) {
			var reply structs.PreparedQueryExecuteResponse
			err := c.Nodes[0].Call(context.Background(), "PreparedQuery.ExecuteRemote", &q, &reply)
			return len(reply.Nodes), err
		}
		web := structs.PreparedQuery{Service: structs.ServiceQuery{Service: "web"}}
		if got, err := run(structs.PreparedQueryExecuteRemoteRequest{Query: web, Limit: 2}); got != 2 || err != nil {
			t.Errorf("got %d instances, %v, want 2", got, err)
		}
		meshed := web
		meshed.Service.Connect = true
		for _, q := range []structs.PreparedQueryExecuteRemoteRequest{{Query: web, Connect: true}, {Query: meshed}} {
			if _, err := run(q); !structs.IsCode(err, structs.Unsupported) {
				t.Errorf("%+v: got %v, want code Unsupported", q, err)
			}
		}
	})
}

// A change that could not be carried out leaves the state of all servers as it was.
func TestRefusedQueriesChangeNothing(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		web := structs.ServiceQuery{Service: "web"}
		if _, err := query(c.Nodes[0], structs.PreparedQueryCreate, structs.PreparedQuery{Name: "web", Service: web}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // what the servers write about themselves is written
		index := c.Leader().Raft().LastIndex()
		for _, n := range c.Nodes {
			for _, q := range []structs.PreparedQuery{
				{Name: "WEB", Service: web},
				{Name: "x"},
				{Session: "zz", Service: web},
				{Name: "x", Service: structs.ServiceQuery{Service: "web", Connect: true}},
			} {
				if id, err := query(n, structs.PreparedQueryCreate, q); err == nil {
					t.Errorf("%+v: got id %s, want an error", q, id)
				}
			}
		}
		if refused := c.Leader().Raft().LastIndex() - index; refused != 6 {
			t.Errorf("%d entries in the log, want 6: those that only the state can refuse", refused)
		}
		testutil.Eventually(t, time.Minute, "the one query", func() error {
			for _, n := range c.Nodes {
				if got := len(n.FSM().Store().Read().PreparedQueries()); got != 1 {
					return fmt.Errorf("%s has %d", n.Config.NodeName, got)
				}
			}
			return nil
		})
	}, quietServers)
}

package cluster_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// heard collects the events that each server hands on.
type heard struct {
	mu    sync.Mutex // guards names
	names map[string][]string
}

func (h *heard) option(_ int, c *rpcserver.Config) {
	c.UserEvent = func(s *rpcserver.Server, e *structs.UserEvent) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if e.LTime > 0 {
			name := s.Config().NodeName
			h.names[name] = append(h.names[name], e.Name)
		}
	}
}

func fire(n *cluster.Node, name string, q structs.QueryOptions) error {
	payload, err := structs.EncodeUserEvent(&structs.UserEvent{ID: name, Name: name, Version: structs.EventVersion})
	if err != nil {
		return err
	}
	request := structs.EventFireRequest{Name: name, Payload: payload, QueryOptions: q}
	return n.Call(context.Background(), "Internal.EventFire", &request, &structs.EventFireResponse{})
}

// An event that is fired at any server is heard once on each. With an index it
// is fired as well: nothing is waited for.
func TestEventsReachEveryServer(t *testing.T) {
	t.Parallel()
	h := heard{names: map[string][]string{}}
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		if err := fire(c.Followers()[0], "at a follower", structs.QueryOptions{AllowStale: true}); err != nil {
			t.Fatal(err)
		}
		if err := fire(c.Followers()[1], "sent to the leader", structs.QueryOptions{MinQueryIndex: 1e9}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, n := range c.Nodes {
			if got := h.names[n.Config.NodeName]; len(got) != 2 || got[0] != "at a follower" && got[1] != "at a follower" {
				t.Errorf("%s heard %q, want both events once", n.Config.NodeName, got)
			}
		}
	}, h.option)
}

// A receiver that is stuck does not hold up gossip: the server still learns of
// others, and those that it did not take in are dropped.
func TestStuckEventReceiver(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var taken atomic.Int64
	stuck := func(i int, c *rpcserver.Config) {
		if i == 0 {
			c.UserEvent = func(*rpcserver.Server, *structs.UserEvent) { <-release; taken.Add(1) }
		}
	}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{}) // of this bubble
		c := cluster.New(t, 2, stuck)
		const fired = 4000 // more than all queues together hold
		for range fired {
			if err := fire(c.Nodes[0], "flood", structs.QueryOptions{AllowStale: true}); err != nil {
				t.Fatal(err)
			}
		}
		third := c.Add(voters(0))
		third.Start()
		third.Join(c.Nodes[1])
		time.Sleep(10 * time.Second)
		if got := len(c.Nodes[0].Members()); got != 3 {
			t.Errorf("the server knows %d members, want 3", got)
		}
		awaitSuffrage(t, c, third, true)
		close(release)
		time.Sleep(time.Second)
		if got := taken.Load(); got == 0 || got >= fired {
			t.Errorf("%d of %d events were taken, want some but not all", got, fired)
		}
	})
}

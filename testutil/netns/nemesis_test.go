//go:build linux

package netns_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/netns"
)

// nemesis does to a cluster what happens to real ones. What it does, and for
// how long, comes from its seed; when exactly it hits is up to the machine.
type nemesis struct {
	t   *testing.T
	c   *netns.Cluster
	rng *rand.Rand
}

// faults are all that it knows. Each begins one and returns what ends it.
var faults = []struct {
	name  string
	begin func(n *nemesis) (end func())
}{
	{"kill -9 one", func(n *nemesis) func() { return n.kill(n.some(1)) }},
	{"kill -9 a majority", func(n *nemesis) func() { return n.kill(n.some(2)) }},
	{"power loss of one", func(n *nemesis) func() { return n.losePower(n.some(1)) }},
	{"power loss of all", func(n *nemesis) func() { return n.losePower(n.c.Servers) }},
	{"stop and continue", (*nemesis).pause},
	{"isolate one from the others", (*nemesis).isolate},
	{"cut one direction", (*nemesis).oneWay},
	{"slow and lossy links", (*nemesis).bad},
	{"full disk", (*nemesis).fill},
}

// some returns n servers, the leader among them in half of the cases.
func (n *nemesis) some(count int) (hit []*netns.Server) {
	order := n.rng.Perm(len(n.c.Servers))
	leaderFirst := n.rng.IntN(2) == 0
	for _, i := range order {
		hit = append(hit, n.c.Servers[i])
	}
	if leaderFirst {
		if leader := n.c.Leader(); leader != "" {
			for i, s := range hit {
				if s.RPCAddr() == leader {
					hit[0], hit[i] = hit[i], hit[0]
				}
			}
		}
	}
	return hit[:count]
}

func (n *nemesis) kill(hit []*netns.Server) func() {
	for _, s := range hit {
		s.Kill()
	}
	return func() {
		for _, s := range hit {
			s.Start()
		}
	}
}

func (n *nemesis) losePower(hit []*netns.Server) func() {
	start := n.kill(hit)
	for _, s := range hit {
		s.Disk.LosePower()
	}
	return start
}

func (n *nemesis) pause() func() {
	s := n.some(1)[0]
	s.Signal(syscall.SIGSTOP)
	return func() { s.Signal(syscall.SIGCONT) }
}

// isolate cuts a server off from the others; the clients still reach it.
func (n *nemesis) isolate() func() {
	s := n.some(1)[0]
	for _, other := range n.c.Servers {
		if other != s {
			n.c.Cut(s.At, other.At)
		}
	}
	return n.c.Heal
}

// oneWay has the packets lost that a server sends to the others, or those that
// it is sent.
func (n *nemesis) oneWay() func() {
	s := n.some(1)[0]
	sends := n.rng.IntN(2) == 0
	for _, other := range n.c.Servers {
		switch {
		case other == s:
		case sends:
			n.c.SetLink(s.At, other.At, netns.Link{Cut: true})
		default:
			n.c.SetLink(other.At, s.At, netns.Link{Cut: true})
		}
	}
	return n.c.Heal
}

func (n *nemesis) bad() func() {
	delay := time.Duration(5+n.rng.IntN(60)) * time.Millisecond
	loss := n.rng.Float64() * 0.1
	for _, a := range n.c.Servers {
		for _, b := range n.c.Servers {
			if a != b {
				n.c.SetLink(a.At, b.At, netns.Link{Delay: delay, Vary: delay, Loss: loss})
			}
		}
	}
	return n.c.Heal
}

func (n *nemesis) fill() func() { return n.some(1)[0].Disk.Fill() }

// work does one fault after the other until the time is up, and waits between
// them: seldom for long enough that all is well again. It begins with all of
// them, in some order.
func (n *nemesis) work(until time.Time) (count int) {
	n.t.Helper()
	var todo []int
	for ; time.Now().Before(until); count++ {
		if len(todo) == 0 {
			todo = n.rng.Perm(len(faults))
		}
		fault := faults[todo[0]]
		todo = todo[1:]
		lasts := time.Duration(200+n.rng.IntN(3800)) * time.Millisecond
		rest := time.Duration(200+n.rng.IntN(3800)) * time.Millisecond
		n.t.Logf("%s %s for %v", time.Now().UTC().Format("15:04:05.000"), fault.name, lasts)
		end := fault.begin(n)
		time.Sleep(lasts)
		end()
		time.Sleep(rest)
	}
	return count
}

// allServe fails unless each server votes, and takes a write within the time.
func allServe(t *testing.T, c *netns.Cluster, within time.Duration, value string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for i, s := range c.Servers {
		client, err := client.New(s.RPCAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		testutil.Eventually(t, time.Until(deadline), fmt.Sprintf("a write through %s", s.RPCAddr()), func() error {
			return client.KV().Put(t.Context(), fmt.Sprint("healed/", i), []byte(value))
		})
		testutil.Eventually(t, time.Until(deadline), fmt.Sprintf("%d voters, seen by %s", len(c.Servers), s.RPCAddr()), func() error {
			var reply structs.RaftConfiguration
			if err := client.Read(t.Context(), "Operator.RaftGetConfiguration", &structs.DCSpecificRequest{}, &reply, 0); err != nil {
				return err
			}
			voters := 0
			for _, server := range reply.Servers {
				if server.Voter {
					voters++
				}
			}
			if voters != len(c.Servers) || len(reply.Servers) != voters {
				return fmt.Errorf("%d servers, %d of them vote", len(reply.Servers), voters)
			}
			return nil
		})
	}
}

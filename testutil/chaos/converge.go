package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/serf/serf"

	"praetor/structs"
	"praetor/testutil"
)

// How long a cluster may take, once everything works again. A server waits up to
// 30 s for memberlist's next attempt to reach one that it takes for dead, the
// leader compares gossip with raft once a minute, and who is new to raft votes
// after 10 s of health.
const (
	untilServing = 30 * time.Second
	untilWhole   = 3 * time.Minute
)

// converge checks that the cluster is whole again.
func (n *nemesis) converge() {
	start := time.Now()
	took := func(what string) { n.note("%s %v after all faults", what, time.Since(start).Round(time.Millisecond)) }
	serving := untilServing
	if slices.ContainsFunc(n.machines, func(m *machine) bool { return m.expelled }) {
		serving += n.machines[0].Config.ReconcileEvery
	}
	testutil.Eventually(n.t, serving, "a leader, and a write through every server", func() error {
		if n.leader() == nil {
			return errors.New("no leader")
		}
		return n.writes("end")
	})
	took("every server takes writes")
	for _, m := range n.machines {
		if m.demoted && m.state == up {
			testutil.Eventually(n.t, time.Minute, m.name()+" is promoted", func() error { return n.promote(m) })
		}
	}
	testutil.Eventually(n.t, untilWhole, "every server has its place", n.places)
	took("every server has its place")
	if err := n.writes("whole"); err != nil {
		n.t.Errorf("once every server has its place: %v", err)
	}
	n.endLoad()
	n.cluster.Agree()
	took("all states are equal")
	for _, m := range n.machines {
		for _, pattern := range []string{"raft/damaged/*", "raft/*.damaged*"} {
			if found, _ := filepath.Glob(filepath.Join(m.Config.DataDir, pattern)); len(found) > 0 {
				n.t.Errorf("%s takes for damaged what a crash has left: %v", m.name(), found)
			}
		}
	}
}

// writes sets a key through every running server.
func (n *nemesis) writes(key string) error {
	for _, m := range n.up() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		request := structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: key + "/" + m.name(), Value: []byte(m.name())}}
		err := m.Call(ctx, "KV.Apply", &request, new(bool))
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", m.name(), err)
		}
	}
	return nil
}

// places compares the raft configuration with what the servers are: those that
// run vote, unless they are read replicas; those that have left are not in it.
func (n *nemesis) places() error {
	leader := n.leader()
	if leader == nil {
		return errors.New("no leader")
	}
	want := map[string]raft.ServerSuffrage{}
	for _, m := range n.up() {
		want[m.name()] = raft.Voter
		if m.replica {
			want[m.name()] = raft.Nonvoter
		}
	}
	for _, m := range n.up() {
		future := m.Raft().GetConfiguration()
		if err := future.Error(); err != nil {
			return err
		}
		got := map[string]raft.ServerSuffrage{}
		for _, server := range future.Configuration().Servers {
			got[n.nameOf(string(server.ID))] = server.Suffrage
		}
		n.excuse(got)
		if !maps.Equal(got, want) {
			return fmt.Errorf("%s has the raft configuration %v, want %v; %s leads", m.name(), got, want, leader.name())
		}
	}
	return nil
}

// excuse takes servers out of a raft configuration that have left for good and
// may still be in it: where the leader has not heard it, they are dead to the
// others, and a dead voter stays until another has come in its place. To take it
// out would leave an even number.
func (n *nemesis) excuse(configuration map[string]raft.ServerSuffrage) {
	voters := 0
	for _, suffrage := range configuration {
		if suffrage == raft.Voter {
			voters++
		}
	}
	for _, m := range n.machines {
		if m.state == gone && voters%2 == 1 && configuration[m.name()] == raft.Voter && !n.heardLeave(m) {
			delete(configuration, m.name())
			voters--
		}
	}
}

// heardLeave reports whether the leader knows that m has left. Gossip does not tell
// it to a server that has never heard of m.
func (n *nemesis) heardLeave(m *machine) bool {
	leader := n.leader()
	return leader != nil && slices.ContainsFunc(leader.Members(), func(s serf.Member) bool {
		return s.Name == m.name() && s.Status == serf.StatusLeft
	})
}

func (n *nemesis) nameOf(id string) string {
	for _, m := range n.machines {
		if m.Config.NodeID == id {
			return m.name()
		}
	}
	return "unknown " + id
}

// resources are what the servers hold while nobody asks them anything, without
// the goroutines that an RPC connection keeps for its next calls, whose number is
// that of its busiest moment.
type resources struct{ servers, sockets, goroutines int }

func (n *nemesis) resources() resources {
	busy := slices.DeleteFunc(stacks(), func(stack string) bool {
		frames := strings.SplitN(stack, "\n", 3)
		return strings.Contains(frames[0], "[chan receive") && strings.HasPrefix(frames[1], "praetor/rpcserver.(*rpcConn).carryOut(")
	})
	return resources{len(n.up()), n.cluster.Net.Open(), len(busy)}
}

// stacks are those of all goroutines of this bubble.
func stacks() (all []string) {
	buf := make([]byte, 1<<20)
	size := runtime.Stack(buf, false)
	_, bubble, _ := strings.Cut(strings.SplitN(string(buf[:size]), "\n", 2)[0], "synctest bubble ")
	bubble = "synctest bubble " + bubble
	for {
		if size = runtime.Stack(buf, true); size < len(buf) {
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	for stack := range strings.SplitSeq(string(buf[:size]), "\n\n") {
		header, _, _ := strings.Cut(stack, "\n")
		if strings.HasSuffix(header, bubble) {
			all = append(all, stack)
		}
	}
	return all
}

// A server has, for each other one, three raft connections in its pool at most,
// two in use and one for RPC, each of which has two ends; and it has three ports.
func mostSockets(servers int) int {
	return servers*(servers-1)*2*(3+2+1) + 3*servers
}

// mustNotLeak checks that servers at rest hold no more than they may, and no more
// goroutines than when they were fresh, but for those of additional connections.
func (n *nemesis) mustNotLeak(fresh resources) {
	now := n.resources()
	n.note("what servers hold: when they were fresh %+v, now %+v", fresh, now)
	if most := mostSockets(now.servers); now.sockets > most {
		n.t.Errorf("%d servers hold %d sockets, want at most %d: %v", now.servers, now.sockets, most, n.cluster.Net.Sockets())
	}
	most := fresh.goroutines*now.servers/fresh.servers + max(0, now.sockets-fresh.sockets) + 5*now.servers
	if now.goroutines > most {
		n.t.Errorf("%d servers have %d goroutines, want at most %d", now.servers, now.goroutines, most)
	}
}

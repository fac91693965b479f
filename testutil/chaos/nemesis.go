package chaos

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"praetor/testutil/cluster"
	"praetor/testutil/history"
)

// nemesis carries out a plan. Its methods run on the test's own goroutine, the
// only one that starts and ends servers; what takes its time, such as leaving,
// goes on in the background.
type nemesis struct {
	t        testing.TB
	plan     *Plan
	cluster  *cluster.Cluster
	machines []*machine
	began    time.Time
	load     *load // nil before it starts
	history  *history.Recorder
	log      *serverLog

	later      []later // what is still to be done, by time
	blocks     map[[2]string]int
	archive    *savedArchive // the newest one; guarded by mu
	background sync.WaitGroup
	dead       chan death // servers that have ended by themselves
	left       chan death // servers that are through with leaving or stopping

	mu    sync.Mutex // guards the field below
	story []string   // what was done, for people
}

type later struct {
	at time.Time
	do func()
}

// death is the end of one life of a server.
type death struct {
	m     *machine
	life  int
	of    string
	fault *Fault // the loss of power that it is of, if it is
}

// note adds a line to the story.
func (n *nemesis) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.story = append(n.story, fmt.Sprintf("%8.3fs ", time.Since(n.began).Seconds())+fmt.Sprintf(format, args...))
}

// after has something done at its time.
func (n *nemesis) after(d time.Duration, do func()) {
	n.later = append(n.later, later{time.Now().Add(d), do})
	slices.SortStableFunc(n.later, func(a, b later) int { return a.at.Compare(b.at) })
}

// run has all faults begin and end.
func (n *nemesis) run() {
	n.began = time.Now()
	for _, f := range n.plan.Faults {
		n.after(f.At, func() { n.begin(f) })
	}
	n.after(n.plan.Length, func() {})
	for len(n.later) > 0 {
		n.wait(n.later[0].at)
		next := n.later[0]
		n.later = n.later[1:]
		next.do()
	}
}

// wait lets time pass and sees to servers that end meanwhile.
func (n *nemesis) wait(until time.Time) {
	for {
		select {
		case d := <-n.dead:
			n.bury(d)
		case d := <-n.left:
			n.goodbye(d)
		case <-time.After(time.Until(until)):
			return
		}
	}
}

func (n *nemesis) begin(f Fault) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == f.Kind })
	kinds[i].do(n, f)
}

// bury crashes what is left of a server that has ended.
func (n *nemesis) bury(d death) {
	if d.m.life != d.life || d.m.state != up && d.m.state != leaving {
		return
	}
	n.note("%s has died of %s", d.m.name(), d.of)
	if d.fault != nil {
		n.losePower(d.m, *d.fault)
	} else {
		n.crash(d.m)
	}
	n.after(time.Second, func() { n.revive(d.m) })
}

// revive starts a server if it is down.
func (n *nemesis) revive(m *machine) {
	if m.state == down {
		n.note("%s starts", m.name())
		n.start(m)
	}
}

// up are the servers that run.
func (n *nemesis) up() (all []*machine) {
	for _, m := range n.machines {
		if m.state == up {
			all = append(all, m)
		}
	}
	return all
}

// leader is the running server that leads in the newest term, or nil.
func (n *nemesis) leader() (leader *machine) {
	for _, m := range n.up() {
		if m.IsLeader() && (leader == nil || m.Raft().CurrentTerm() > leader.Raft().CurrentTerm()) {
			leader = m
		}
	}
	return leader
}

// targets are the running servers that a fault is about. If there is no leader,
// some server takes its place.
func (n *nemesis) targets(f Fault) []*machine {
	up, leader, r := n.up(), n.leader(), f.rand()
	if len(up) == 0 {
		return nil
	}
	switch f.On {
	case "all":
		return up
	case "some":
		r.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
		return up[:1+r.IntN(len(up))]
	case "leader":
		if leader != nil {
			return []*machine{leader}
		}
	case "follower":
		followers := slices.DeleteFunc(slices.Clone(up), func(m *machine) bool { return m == leader })
		if len(followers) > 0 {
			return followers[r.IntN(len(followers)):][:1]
		}
	default:
		return slices.DeleteFunc(up, func(m *machine) bool { return m.name() != f.On })
	}
	return up[r.IntN(len(up)):][:1]
}

// block cuts directed links until undo: a link that several faults have cut
// comes back with the last of them.
func (n *nemesis) block(links [][2]string) (undo func()) {
	for _, l := range links {
		if n.blocks[l]++; n.blocks[l] == 1 {
			n.cluster.Net.Block(l[0], l[1])
		}
	}
	return func() {
		for _, l := range links {
			if n.blocks[l]--; n.blocks[l] == 0 {
				n.cluster.Net.Unblock(l[0], l[1])
			}
		}
	}
}

// heal ends every fault: the network is as new, all servers run, except for
// those that have left.
func (n *nemesis) heal() {
	for _, m := range n.machines {
		m.disk.renew()
	}
	n.blocks = map[[2]string]int{}
	n.cluster.Net.Heal()
	n.slow(nil, nothingSlow)
	for _, m := range n.machines {
		n.revive(m)
	}
	idle := make(chan struct{})
	go func() {
		n.background.Wait()
		close(idle)
	}()
	for {
		select {
		case d := <-n.dead:
			n.bury(d)
		case d := <-n.left:
			n.goodbye(d)
		case <-idle:
			n.drain()
			return
		case <-time.After(5 * time.Minute):
			n.t.Fatal("what was begun under faults has not ended 5 minutes after them")
		}
	}
}

// drain sees to who ended last, and starts everybody that is to run.
func (n *nemesis) drain() {
	n.wait(time.Now().Add(10 * time.Millisecond))
	n.later = nil
	for _, m := range n.machines {
		n.revive(m)
	}
}

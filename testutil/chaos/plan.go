package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"praetor/rpcserver"
)

// Plan is what a seed stands for: a cluster and the faults that befall it.
type Plan struct {
	Seed     uint64
	Servers  int    // voters that the cluster begins with
	Replicas int    // read replicas that it begins with
	Backend  string // of the raft log
	Rejoin   bool   // restarted servers are told whom to join, not only what their serf snapshot says
	Length   time.Duration
	Faults   []Fault // by time

	threshold, trailing uint64 // of raft's snapshots
	interval            time.Duration
}

// Fault is one thing that goes wrong, and for how long.
type Fault struct {
	At    time.Duration // after the start of all faults
	Lasts time.Duration // some faults only begin, and this is how long until their consequence is undone
	Kind  string
	On    string // "leader", "follower", "node3", "some" or "all"
	dice  uint64 // decides the details
}

// String describes the fault in a line.
func (f Fault) String() string {
	return fmt.Sprintf("%7.3fs %-14s %-8s for %.3fs", f.At.Seconds(), f.Kind, f.On, f.Lasts.Seconds())
}

// rand draws the details of a fault, the same ones each time.
func (f Fault) rand() *rand.Rand { return rand.New(rand.NewPCG(f.dice, 1)) }

// NewPlan draws the plan of a seed.
func NewPlan(seed uint64) *Plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := &Plan{
		Seed:      seed,
		Servers:   3,
		Backend:   pick(r, "boltdb", "wal"),
		Rejoin:    r.IntN(2) == 0,
		Length:    between(r, 15*time.Second, 35*time.Second),
		threshold: uint64(10 + r.IntN(100)),
		trailing:  uint64(r.IntN(60)),
		interval:  between(r, time.Second, 5*time.Second),
	}
	if r.IntN(3) == 0 {
		p.Servers = 5
	}
	if r.IntN(4) == 0 {
		p.Replicas = 1
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	// A few seeds each are calm or wild; most have a fault every two seconds.
	pause := pick(r, 500*time.Millisecond, 2*time.Second, 2*time.Second, 2*time.Second, 5*time.Second)
	for at := between(r, 0, pause); at < p.Length; at += between(r, pause/4, pause*7/4) {
		n := r.IntN(total)
		i := slices.IndexFunc(kinds, func(k kind) bool { n -= k.weight; return n < 0 })
		f := Fault{At: at, Kind: kinds[i].name, Lasts: between(r, 100*time.Millisecond, kinds[i].longest), dice: r.Uint64()}
		f.On = pick(r, "leader", "leader", "follower", "follower", fmt.Sprint("node", r.IntN(p.Servers+p.Replicas)))
		if kinds[i].many {
			f.On = pick(r, "leader", "some", "some", "all")
		}
		p.Faults = append(p.Faults, f)
	}
	return p
}

// String is the plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d servers, %d read replicas, backend %s, snapshots from %d entries every %.1fs, %d trailing, rejoin %v\n",
		p.Seed, p.Servers, p.Replicas, p.Backend, p.threshold, p.interval.Seconds(), p.trailing, p.Rejoin)
	for _, f := range p.Faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// configure is the configuration of each server.
func (p *Plan) configure(i int, c *rpcserver.Config) {
	c.BootstrapExpect = p.Servers
	c.VerifyState = true
	c.ReadReplica = i >= p.Servers && i < p.Servers+p.Replicas
	c.Raft.Backend, c.Raft.SegmentSize = p.Backend, 64<<10
	c.Raft.SnapshotThreshold, c.Raft.TrailingLogs, c.Raft.SnapshotInterval = p.threshold, p.trailing, p.interval
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// between draws a time, in milliseconds so that it reads well.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return (least + time.Duration(r.Int64N(int64(most-least)))).Truncate(time.Millisecond)
}

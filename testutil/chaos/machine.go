package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/testutil/cluster"
)

// machine is one server of the cluster, as the nemesis sees it.
type machine struct {
	*cluster.Node
	disk    *disk
	replica bool
	state   condition
	life    int               // counts its starts
	image   string            // the data directory that its next start finds, if power was lost
	torn    map[string][]byte // files of the image that a write has left unfinished

	forGood  bool        // it leaves to stay away
	joined   atomic.Bool // its serf snapshot tells it whom to join,
	left     bool        // unless it has left: then serf does not join by itself
	demoted  bool        // an operator has asked to take its vote away
	expelled bool        // and out of raft, where the leader sees once a minute who is missing
}

type condition int

const (
	up condition = iota
	down
	leaving // on its way out
	gone    // has left for good
)

func (m *machine) name() string { return m.Config.NodeName }

// machine makes a server that does not run yet.
func (n *nemesis) machine(options ...cluster.Option) *machine {
	m := &machine{disk: &disk{}, state: down}
	around := func(_ int, c *rpcserver.Config) { c.Raft.AroundWrite = m.disk.write }
	m.Node = n.cluster.Add(append(append([]cluster.Option{n.plan.configure, n.log.option}, options...), around)...)
	m.replica = m.Config.ReadReplica
	n.machines = append(n.machines, m)
	return m
}

// start starts a server that is down. Its disk works.
func (n *nemesis) start(m *machine) {
	m.disk.renew()
	m.life++
	life := m.life
	m.disk.set(func() {
		m.disk.dying = func() {
			n.cluster.Net.Host(m.IP).Crash()
			n.dead <- death{m: m, life: life, of: "a term that it could not write"}
		}
	})
	if m.image != "" {
		if err := replace(m.Config.DataDir, m.image); err != nil {
			n.t.Fatal(err)
		}
		m.image = ""
		m.joined.Store(false)
	}
	if err := m.TryStart(); err != nil {
		n.t.Fatalf("%s does not start: %v", m.name(), err)
	}
	m.state = up
	if m.left {
		m.left = false
		m.joined.Store(false)
	}
	if m.joined.Load() && !n.plan.Rejoin {
		return
	}
	server := m.Server
	var addrs []string
	for _, other := range n.machines {
		if other != m {
			addrs = append(addrs, fmt.Sprintf("%s:%d", other.IP, other.Config.SerfPort))
		}
	}
	n.background.Go(func() { // as an agent with retry_join
		for {
			if joined, _ := server.Join(addrs); joined > 0 {
				select {
				case <-time.After(5 * time.Second): // serf does not write it down at once
					m.joined.Store(true)
				case <-server.Done():
				}
				return
			}
			select {
			case <-time.After(2 * time.Second):
			case <-server.Done():
				return
			}
		}
	})
}

// crash ends a server as kill -9 does.
func (n *nemesis) crash(m *machine) {
	n.cluster.Net.Host(m.IP).Crash()
	m.disk.renew() // or a write that hangs would keep it
	m.Crash()
	m.state = down
}

// losePower ends a server and leaves of its files what was synced.
func (n *nemesis) losePower(m *machine, f Fault) {
	n.cluster.Net.Host(m.IP).Crash()
	synctest.Wait() // for writes under way, so that the copy is of one moment; nobody hears of them
	image, err := image(f.rand(), m.Config.DataDir, m.torn)
	if err != nil {
		n.t.Fatal(err)
	}
	m.image, m.torn = image, nil
	n.crash(m)
}

// losePowerWriting has a server lose power while it writes to its log next.
func (n *nemesis) losePowerWriting(m *machine, f Fault) {
	file := filepath.Join(m.Config.DataDir, "raft", "raft.db")
	d := death{m: m, life: m.life, of: "power loss in a write", fault: &f}
	m.disk.set(func() {
		m.disk.last = func(what string, write func() error) error {
			n.cluster.Net.Host(m.IP).Crash()
			defer func() { n.dead <- d }()
			before, err := os.ReadFile(file)
			readRecord := func() ([]byte, error) { return os.ReadFile(filepath.Join(m.Config.DataDir, "raft", "record")) }
			record, errRecord := readRecord()
			if os.IsNotExist(err) { // another backend: all of the write, or nothing
				if f.rand().IntN(2) == 0 {
					return errDisk
				}
				return write()
			}
			err = errors.Join(err, errRecord, write())
			after, again := os.ReadFile(file)
			if what == "cut" { // the record says so first, for good
				record, errRecord = readRecord()
				err = errors.Join(err, errRecord)
			}
			m.torn = map[string][]byte{"raft/raft.db": torn(f.rand(), before, after), "raft/record": record}
			return errors.Join(err, again)
		}
	})
}

func replace(dir, by string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(by, dir)
}

package cluster_test

import (
	"sync"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// disks hang and move on command, by node.
type disks struct {
	mu   sync.Mutex // guards hung
	hung map[int]chan struct{}
}

func (d *disks) option(i int, c *rpcserver.Config) {
	c.Raft.AroundWrite = func(_ string, write func() error) error {
		d.mu.Lock()
		gate := d.hung[i]
		d.mu.Unlock()
		if gate != nil {
			<-gate
		}
		return write()
	}
}

func (d *disks) hang(n *cluster.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung == nil {
		d.hung = map[int]chan struct{}{}
	}
	d.hung[number(n)] = make(chan struct{})
}

func (d *disks) move(n *cluster.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.hung[number(n)])
	delete(d.hung, number(n))
}

func number(n *cluster.Node) int { return int(n.Config.NodeName[4] - '0') }

// A leader whose disk hangs gives up: the cluster takes writes again within
// seconds after the limit. It answers nobody as the leader meanwhile, and is a
// follower like any other when its disk moves.
func TestFrozenDiskOfTheLeader(t *testing.T) {
	t.Parallel()
	var d disks
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		frozen := c.Leader()
		defer func() {
			if d.hung[number(frozen)] != nil {
				d.move(frozen) // or nothing can be stopped
			}
		}()
		d.hang(frozen)
		start := time.Now()
		lost := make(chan error, 1)
		go func() { lost <- put(frozen, "lost", "v") }()
		client := c.Client(others(c, frozen)...).KV()
		testutil.Eventually(t, time.Minute, "a write", func() error { return client.Put(t.Context(), "k", []byte("new")) })
		took(t, "from the hang to the next write", start, 10*time.Second, 16*time.Second)
		if c.Leader() == frozen {
			t.Fatal("it still leads")
		}
		for _, how := range []kind{plain, consistent} {
			if got, err := get(frozen, "k", how); !structs.IsCode(err, structs.NoLeader) {
				t.Errorf("a frozen leader answers %q, %v, want code NoLeader", got, err)
			}
		}
		if err := put(frozen, "k3", "v"); !structs.IsCode(err, structs.NoLeader) {
			t.Errorf("a frozen leader answers %v to a write, want code NoLeader", err)
		}
		if got, err := get(frozen, "k", stale); err != nil || got != "old" {
			t.Errorf("stale: got %q, %v", got, err)
		}
		time.Sleep(5 * time.Minute)
		if frozen.IsLeader() {
			t.Error("it leads again with a disk that hangs")
		}
		mustGet(t, c.Leader(), "k", consistent, "new")
		if frozen.Alarms()["disk.frozen"] != 1 {
			t.Error("the gauge disk.frozen is wrong")
		}
		d.move(frozen)
		if err := <-lost; !structs.IsCode(err, structs.Unclear) && !structs.IsCode(err, structs.NoLeader) {
			t.Errorf("the write that hung: got %v", err)
		}
		testutil.Eventually(t, 10*time.Second, "the frozen server follows", func() error { return put(frozen, "k4", "v") })
		c.Agree()
		if frozen.Alarms()["disk.frozen"] != 0 {
			t.Error("the gauge disk.frozen stays")
		}
		mustGet(t, frozen, "k", consistent, "new")
		mustGet(t, c.Leader(), "lost", consistent, "")
		if err := operate(c.Leader(), "TransferLeader", frozen); err != nil { // it can lead again
			t.Errorf("transfer: %v", err)
		}
		c.Put("k", "newer")
	}, d.option)
}

// A leader that is cut off while its disk hangs cannot give up: raft waits for the
// disk. It answers nobody from its state once its lease is over, as others may
// lead; and a disk that hangs ends no lease.
func TestHungLeaderKeepsItsLeaseOnly(t *testing.T) {
	t.Parallel()
	var d disks
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		hung := c.Leader()
		proofs := hung.Proofs()
		d.hang(hung)
		go put(hung, "lost", "v")
		time.Sleep(2 * time.Second)
		if got, err := get(hung, "k", plain); err != nil || got != "old" || hung.Proofs() != proofs {
			t.Errorf("a leader whose disk hangs, with %d proofs of leadership: got %q, %v, want the value without one", hung.Proofs()-proofs, got, err)
		}
		isolate(c, hung)
		client := c.Client(others(c, hung)...).KV()
		testutil.Eventually(t, 5*time.Second, "a write", func() error { return client.Put(t.Context(), "k", []byte("new")) })
		if !hung.IsLeader() {
			t.Error("it has noticed: this test no longer shows anything")
		}
		for _, how := range []kind{plain, consistent} {
			if got, err := get(hung, "k", how); !structs.IsCode(err, structs.NoLeader) {
				t.Errorf("once another leads: got %q, %v, want code NoLeader", got, err)
			}
		}
		c.Net.Heal()
		d.move(hung)
		testutil.Eventually(t, 10*time.Second, "it follows", func() error { return put(hung, "k2", "v") })
		mustGet(t, hung, "k", plain, "new")
	}, d.option)
}

// A disk that is slow, but within the limit, costs time and nothing else; so
// does one of a follower, and that of a server on its own.
func TestSlowDiskIsNotFrozen(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 3} {
		var d disks
		story(t, servers, func(t *testing.T, c *cluster.Cluster) {
			c.Put("k", "v")
			leader := c.Leader()
			pause := 9 * time.Second
			if servers == 1 {
				pause = time.Minute
			}
			d.hang(leader)
			time.AfterFunc(pause, func() { d.move(leader) })
			c.Put("k", "w")
			if c.Leader() != leader {
				t.Error("leadership has moved")
			}
			mustGet(t, leader, "k", consistent, "w")
			if servers == 1 {
				return
			}
			follower := c.Followers()[0]
			d.hang(follower)
			c.Put("k", "x")
			time.Sleep(time.Minute)
			if c.Leader() != leader {
				t.Error("leadership has moved from a leader whose disk is fine")
			}
			d.move(follower)
		}, d.option)
	}
}

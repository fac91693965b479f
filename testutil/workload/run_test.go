package workload_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil/cluster"
	"praetor/testutil/history"
	"praetor/testutil/vnet"
	"praetor/testutil/workload"
)

// A leader dies and comes back. Its successor is cut off from the others, but
// not from clients, and hears their last answers so late that it takes itself
// for the leader when there is another. Whatever clients are told is what was
// promised.
func TestHistoryOfLostLeaders(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			lostLeaders(t, seed)
		})
	}
}

func lostLeaders(t *testing.T, seed uint64) {
	rec := record(t, workload.Config{Seed: seed, Ops: 110}, func(c *cluster.Cluster) {
		time.Sleep(time.Second)
		leader := c.Leader()
		leader.Crash()
		time.Sleep(2 * time.Second)
		leader.Start()
		time.Sleep(time.Second)
		leader = c.Leader()
		for _, n := range c.Nodes {
			if n != leader {
				c.Net.SetLink(n.IP, leader.IP, vnet.Link{Delay: 800 * time.Millisecond})
			}
		}
		time.Sleep(1500 * time.Millisecond)
		for _, n := range c.Nodes {
			if n != leader {
				c.Net.Block(leader.IP, n.IP) // what they have sent still comes
			}
		}
		time.Sleep(2500 * time.Millisecond)
		c.Net.Heal()
		delays(c)
	})
	rec.Check(t, history.Promises{})
	t.Log("\n" + rec.Summary())
	if seed != 1 {
		return
	}
	// What the history does not have, the check cannot find fault with.
	counts := rec.Counts()
	for _, kind := range []string{"put", "cas", "delete-cas", "txn", "acquire", "fenced-put"} {
		if n := counts[kind].OK; n < 2 {
			t.Errorf("%s worked %d times, want 2", kind, n)
		}
	}
	for _, kind := range []string{"cas", "txn", "acquire", "fenced-put"} {
		if counts[kind].Refused == 0 {
			t.Errorf("no %s was refused", kind)
		}
	}
	for _, kind := range []string{"get consistent", "get default", "get stale", "list consistent", "list default", "list stale",
		"get consistent waiting", "get default waiting", "delete",
		"feed reset", "feed connect", "feed put", "feed delete", "feed synced"} {
		if counts[kind].OK == 0 {
			t.Errorf("no %s in the history", kind)
		}
	}
	if _, open, refused := rec.Calls(); open+refused == 0 {
		t.Error("every call was answered: the faults were not felt")
	}
}

// While nothing goes wrong, blocked queries wake at once.
func TestHistoryWithoutFaults(t *testing.T) {
	t.Parallel()
	rec := record(t, workload.Config{Seed: 2, Ops: 40, Mix: workload.Mix{Registers: 3, Waits: 2}}, func(*cluster.Cluster) {})
	rec.Check(t, history.Promises{Lease: time.Nanosecond, WakeWithin: 100 * time.Millisecond})
	if _, open, refused := rec.Calls(); open+refused > 0 {
		t.Errorf("%d calls are open and %d did nothing, want none", open, refused)
	}
}

// record has clients work on three servers with a network that takes its time,
// while faults happen.
func record(t *testing.T, config workload.Config, faults func(*cluster.Cluster)) *history.Recorder {
	t.Helper()
	var rec history.Recorder
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		delays(c)
		config.Servers = workload.OnCluster(c)
		worked := make(chan struct{})
		go func() {
			defer close(worked)
			stats, err := workload.Run(context.Background(), config, &rec)
			if err != nil {
				t.Error(err)
			}
			t.Log(stats)
		}()
		faults(c)
		<-worked
		c.Agree()
	})
	return &rec
}

// delays make calls take time, so that they overlap.
func delays(c *cluster.Cluster) {
	var ips []string
	for i, n := range c.Nodes {
		ips = append(ips, n.IP, fmt.Sprintf("10.0.1.%d", i+1))
	}
	slices.Sort(ips)
	for _, from := range ips {
		for _, to := range ips {
			if from != to {
				c.Net.SetLink(from, to, vnet.Link{Delay: time.Millisecond, Jitter: 4 * time.Millisecond})
			}
		}
	}
}

// seeds are 1, or SEED, or the first SEEDS.
func seeds() []uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		return []uint64{n}
	}
	seeds := []uint64{1}
	n, _ := strconv.Atoi(os.Getenv("SEEDS"))
	for seed := uint64(2); seed <= uint64(max(n, 0)); seed++ {
		seeds = append(seeds, seed)
	}
	return seeds
}

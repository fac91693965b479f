//go:build linux

package netns_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/history"
	"praetor/testutil/netns"
	"praetor/testutil/workload"
)

// runs are the seeds to run with, and for how long each: PRAETOR_CHAOS_RUNS
// random seeds, or PRAETOR_CHAOS_SEED alone.
func runs(t *testing.T) (seeds []uint64, each time.Duration) {
	t.Helper()
	n := chaos(t)
	var err error
	if each, err = time.ParseDuration(os.Getenv("PRAETOR_CHAOS_LASTS")); err != nil {
		t.Fatal(err)
	}
	if given := os.Getenv("PRAETOR_CHAOS_SEED"); given != "" {
		seed, err := strconv.ParseUint(given, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}, each
	}
	for range n {
		seeds = append(seeds, uint64(rand.Uint32()))
	}
	return seeds, each
}

// chaos skips tests that have a target of their own, and returns how many runs
// are asked for there.
func chaos(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("PRAETOR_CHAOS_RUNS"))
	if err != nil {
		t.Skip("it takes minutes: make chaos-processes runs it")
	}
	return n
}

// Three servers in namespaces of their own, clients that write down what they
// are told, and everything that happens to machines: whatever the clients were
// told is what was promised, and when it is over all servers serve, with the
// same state, though nobody has restarted any but those that were killed.
func TestChaos(t *testing.T) {
	seeds, each := runs(t)
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Logf("again: make chaos-processes SEED=%d LASTS=%v", seed, each)
			rng := rand.New(rand.NewPCG(seed, 0))
			settings := storage(rng)
			t.Log(settings)
			c := netns.NewCluster(t, seed, 3, func() *netns.Disk { return netns.NewDurable(t, 256<<20) }, "-hcl", settings)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var rec history.Recorder
			worked := make(chan struct{})
			go func() {
				defer close(worked)
				stats, err := workload.Run(ctx, workload.Config{Seed: seed, Servers: c.Workload()}, &rec)
				if err != nil {
					t.Error(err)
				}
				t.Log(stats)
			}()
			n := &nemesis{t: t, c: c, rng: rng}
			count := n.work(time.Now().Add(each))
			allServe(t, c, 30*time.Second, "v")
			stop()
			<-worked
			same(t, c)
			start := time.Now()
			rec.Check(t, history.Promises{})
			all, open, refused := rec.Calls()
			t.Logf("%d faults, %d calls, %d open, %d refused, checked in %v", count, all, open, refused, time.Since(start))
			if done := all - open - refused; done < 20*int(each.Seconds()) {
				t.Errorf("only %d calls were answered, so this shows little", done)
			}
		})
	}
}

// backends are the log stores.
var backends = []string{"boltdb", "wal"}

// storage is how the servers of a run keep their log, and most often so little
// of it that who was away for a second is sent a snapshot.
func storage(rng *rand.Rand) string {
	backend := backends[rng.IntN(len(backends))]
	if rng.IntN(4) == 0 {
		return fmt.Sprintf("raft_logstore { backend = %q }", backend)
	}
	return shortLog(backend)
}

// shortLog has a snapshot taken every second.
func shortLog(backend string) string {
	return fmt.Sprintf("raft_logstore { backend = %q }\nraft_snapshot_threshold = 50\nraft_snapshot_interval = \"1s\"\nraft_trailing_logs = 20", backend)
}

// same fails unless each server comes to have the same keys in its own state.
func same(t *testing.T, c *netns.Cluster) {
	t.Helper()
	testutil.Eventually(t, 30*time.Second, "the same keys on all servers", func() error {
		var first map[string]string
		for _, s := range c.Servers {
			client, err := client.New(s.RPCAddr())
			if err != nil {
				return err
			}
			defer client.Close()
			rows, _, err := client.KV().List(t.Context(), "", &structs.QueryOptions{AllowStale: true})
			if err != nil {
				return err
			}
			have := map[string]string{}
			for _, row := range rows {
				have[row.Key] = fmt.Sprint(row.ModifyIndex, " ", string(row.Value))
			}
			if first == nil {
				first = have
			}
			if len(have) == 0 || !maps.Equal(first, have) {
				return fmt.Errorf("%s has %d keys, others %d", s.RPCAddr(), len(have), len(first))
			}
		}
		return nil
	})
}

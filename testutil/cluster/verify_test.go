package cluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
	"praetor/testutil/vnet"
)

// often has states compared often.
func often(_ int, c *rpcserver.Config) { c.VerifyEntries = 10 }

// corrupt changes a key on one server alone, behind raft's back.
func corrupt(n *cluster.Node, key, value string) {
	w := n.FSM().Store().Write()
	w.Begin(n.Raft().AppliedIndex())
	if _, err := w.ApplyKV(&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: key, Value: []byte(value)}}); err != nil {
		panic(err)
	}
	w.Commit()
}

// flip changes one bit of a value in memory, as a bad memory chip does: neither
// index nor length shows it.
func flip(n *cluster.Node, key string) {
	synctest.Wait() // nobody is reading
	n.FSM().Store().Read().KV(key).Value[0] ^= 1
}

func quarantines(nodes ...*cluster.Node) (n uint64) {
	for _, node := range nodes {
		_, _, wrong := node.Verified()
		n += wrong
	}
	return n
}

// busy writes keys until the test is over, so that comparisons come.
func busy(t *testing.T, c *cluster.Cluster, write func(i int) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			write(i)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// awaitQuarantine waits until the node has found its state to be wrong.
func awaitQuarantine(t *testing.T, n *cluster.Node) {
	t.Helper()
	for end := time.Now().Add(time.Minute); quarantines(n) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s has not gone into quarantine", n.Config.NodeName)
		}
	}
}

// inService waits until the node answers stale reads of its own, and returns
// the error that it gave before, if any.
func inService(t *testing.T, n *cluster.Node, key string) (refusal error) {
	t.Helper()
	testutil.Eventually(t, 2*time.Minute, n.Config.NodeName+" to be in service", func() error {
		_, err := get(n, key, stale)
		if err != nil {
			refusal = err
		}
		return err
	})
	return refusal
}

// watchKey asks one server for a key all the time, in every way, from now on.
// stop returns the values that were served, and the errors by code.
func watchKey(t *testing.T, n *cluster.Node, key string) (stop func() (values map[string]int, codes map[structs.Code]int)) {
	values, codes := map[string]int{}, map[structs.Code]int{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			value, err := get(n, key, kind(i%3))
			if err == nil {
				values[value]++
			} else {
				codes[structs.CodeOf(err)]++
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	t.Cleanup(cancel)
	return func() (map[string]int, map[structs.Code]int) { cancel(); <-done; return values, codes }
}

// A follower whose state differs finds out, answers nothing more, gets the
// leader's state and is in service again, with no wrong read served after it knew.
func TestStateOfAFollowerDiffers(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(n *cluster.Node){
		"a row that was never written": func(n *cluster.Node) { corrupt(n, "ghost", "boo") },
		"a flipped bit":                func(n *cluster.Node) { flip(n, "k") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				c.Differ = true
				c.Put("k", "right")
				c.Agree()
				bad := c.Followers()[1]
				damage(bad)
				waiting := wait(context.Background(), bad, "nothing", blockingRead(stale, 1<<30, 5*time.Minute))
				leader := c.Leader()
				stop := busy(t, c, func(i int) error { return put(leader, fmt.Sprint("n/", i%10), fmt.Sprint(i)) })
				testutil.Eventually(t, time.Minute, "the quarantine", func() error {
					if quarantines(bad) == 0 {
						return fmt.Errorf("none yet")
					}
					return nil
				})
				watched := watchKey(t, bad, "k")
				ghost, _ := get(bad, "ghost", stale)
				if got := <-waiting; !structs.IsCode(got.err, structs.Quarantined) {
					t.Errorf("a read that waited: got %+v, want code Quarantined", got)
				}
				refusal := inService(t, bad, "k")
				values, codes := watched()
				stop()
				if ghost != "" || len(values) > 1 || values["right"] == 0 && len(values) > 0 {
					t.Errorf("served by the server in quarantine: %q, %v", ghost, values)
				}
				if codes[structs.Quarantined] == 0 {
					t.Errorf("errors: got %v, want some with code Quarantined", codes)
				}
				if refusal == nil || !strings.Contains(refusal.Error(), "differs from that of") || !strings.Contains(refusal.Error(), bad.Config.NodeName) {
					t.Errorf("the reason: got %v", refusal)
				}
				mustGet(t, bad, "ghost", stale, "")
				mustGet(t, bad, "k", stale, "right")
				c.Agree()
				if all := quarantines(c.Up()...); all != 1 {
					t.Errorf("%d quarantines, want 1", all)
				}
				// What it left on disk is right too.
				bad.Restart()
				c.Put("after", "x")
				c.Agree()
				mustGet(t, bad, "k", stale, "right")
				mustGet(t, bad, "ghost", stale, "")
			}, often)
		})
	}
}

// A leader whose state differs hands over, and its wrong state neither answers
// nor decides anything more.
func TestStateOfTheLeaderDiffers(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Differ = true
		c.Put("k", "right")
		c.Agree()
		bad := c.Leader()
		corrupt(bad, "k", "wrong")
		mustGet(t, bad, "k", consistent, "wrong") // until somebody notices
		via := c.Followers()[0]
		stop := busy(t, c, func(i int) error { return put(via, fmt.Sprint("n/", i%10), fmt.Sprint(i)) })
		testutil.Eventually(t, time.Minute, "the quarantine", func() error {
			if quarantines(bad) == 0 {
				return fmt.Errorf("none yet")
			}
			return nil
		})
		start := time.Now()
		watched := watchKey(t, bad, "k")
		c.Put("during", "x")
		took(t, "a write after the leader's quarantine", start, 0, 5*time.Second)
		mustGet(t, via, "k", consistent, "right")
		if leader := c.Leader(); leader == bad {
			t.Error("the server in quarantine leads")
		}
		inService(t, bad, "k")
		values, _ := watched()
		if values["wrong"] > 0 {
			t.Errorf("wrong reads after the quarantine began: %v", values)
		}
		stop()
		c.Agree()
		mustGet(t, bad, "k", stale, "right")
		if all := quarantines(c.Up()...); all != 1 {
			t.Errorf("%d quarantines, want 1", all)
		}
	}, often)
}

// With five servers, two may differ, the leader among them and each in its own way.
func TestStatesOfTwoOfFiveDiffer(t *testing.T) {
	t.Parallel()
	story(t, 5, func(t *testing.T, c *cluster.Cluster) {
		c.Differ = true
		c.Put("k", "right")
		c.Agree()
		bad := []*cluster.Node{c.Leader(), c.Followers()[0]}
		for _, n := range bad {
			corrupt(n, "k", "wrong on "+n.Config.NodeName)
		}
		via := c.Followers()[3]
		stop := busy(t, c, func(i int) error { return put(via, fmt.Sprint("n/", i%10), fmt.Sprint(i)) })
		testutil.Eventually(t, time.Minute, "two quarantines", func() error {
			if a, b := quarantines(bad[0]), quarantines(bad[1]); a == 0 || b == 0 {
				return fmt.Errorf("%d and %d", a, b)
			}
			return nil
		})
		for _, n := range bad {
			inService(t, n, "k")
		}
		stop()
		c.Agree()
		for _, n := range c.Up() {
			mustGet(t, n, "k", stale, "right")
		}
		// One that got the state again from the other, while that still led, goes twice.
		if all, theirs := quarantines(c.Up()...), quarantines(bad...); all != theirs || theirs > 3 {
			t.Errorf("%d quarantines, %d of those that differ, want none of others and at most 3", all, theirs)
		}
	}, often)
}

// Of two servers that differ nobody can tell which is wrong: both go on, and it
// is counted.
func TestStatesOfTwoServersDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 2, often)
		c.Differ = true
		c.Put("k", "v")
		c.Agree()
		corrupt(c.Followers()[0], "ghost", "boo")
		for i := range 40 {
			c.Put("n", fmt.Sprint(i))
		}
		testutil.Eventually(t, time.Minute, "a dispute", func() error {
			for _, n := range c.Up() {
				if _, disputed, wrong := n.Verified(); disputed == 0 || wrong > 0 {
					return fmt.Errorf("%s: %d disputed, %d wrong", n.Config.NodeName, disputed, wrong)
				}
			}
			return nil
		})
		for _, n := range c.Up() {
			mustGet(t, n, "k", stale, "v")
		}
	})
}

// A server in quarantine that can reach no leader stays there, across a restart
// too: the snapshots on its disk are of the wrong state.
func TestQuarantineOutlivesARestart(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Differ = true
		c.Put("k", "right")
		c.Agree()
		bad := c.Followers()[0]
		corrupt(bad, "k", "wrong")
		if err := bad.Raft().Snapshot().Error(); err != nil { // the wrong state is on its disk now
			t.Fatal(err)
		}
		leader := c.Leader()
		stop := busy(t, c, func(i int) error { return put(leader, "n", fmt.Sprint(i)) })
		awaitQuarantine(t, bad)
		stop()
		isolate(c, bad)
		if _, err := get(bad, "k", stale); !structs.IsCode(err, structs.Quarantined) {
			t.Errorf("in quarantine: got %v", err)
		}
		bad.Restart()
		time.Sleep(20 * time.Second)
		if _, err := get(bad, "k", stale); !structs.IsCode(err, structs.Quarantined) {
			t.Errorf("after a restart: got %v", err)
		}
		c.Net.Heal()
		inService(t, bad, "k")
		if left, _ := filepath.Glob(filepath.Join(bad.Config.DataDir, "raft", "snapshots", "*-*-*")); len(left) != 1 {
			t.Errorf("snapshots: got %q, want the new one alone", left)
		}
		if _, err := os.Stat(filepath.Join(bad.Config.DataDir, "raft", "quarantine.json")); !os.IsNotExist(err) {
			t.Errorf("the note of the quarantine: got %v, want none", err)
		}
		c.Agree()
		mustGet(t, bad, "k", stale, "right")
		bad.Restart()
		c.Put("after", "x")
		c.Agree()
		mustGet(t, bad, "k", stale, "right")
		if again := quarantines(bad); again != 0 {
			t.Errorf("%d quarantines after it had the leader's state", again)
		}
	}, often)
}

// A server in quarantine stores entries and votes, so that the cluster goes on
// with it and one other; it does not lead, even if it is asked to.
func TestQuarantineKeepsTheLog(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Differ = true
		c.Put("k", "right")
		c.Agree()
		bad, leader := c.Followers()[0], c.Leader()
		corrupt(bad, "k", "wrong")
		c.Net.SetLink(leader.IP, bad.IP, vnet.Link{Delay: 300 * time.Millisecond}) // so that the state takes its time
		stop := busy(t, c, func(i int) error { return put(leader, "n", fmt.Sprint(i)) })
		awaitQuarantine(t, bad)
		stop()
		inQuarantine := func() {
			t.Helper()
			if _, err := get(bad, "k", stale); !structs.IsCode(err, structs.Quarantined) {
				t.Errorf("got %v, want code Quarantined", err)
			}
		}
		if err := operate(leader, "TransferLeader", bad); err == nil {
			t.Error("it takes over leadership")
		}
		inQuarantine()
		leader.Crash()
		inQuarantine()
		c.Put("during", "x") // takes the vote of the server in quarantine, which cannot lead itself
		if c.Leader() == bad {
			t.Error("it leads")
		}
		inService(t, bad, "k")
		mustGet(t, bad, "k", stale, "right")
		leader.Start()
	}, often)
}

// A server in quarantine does not lead, even if it alone stands for election.
func TestQuarantineIsNotElected(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Differ = true
		c.Put("k", "right")
		c.Agree()
		bad, other, leader := c.Followers()[0], c.Followers()[1], c.Leader()
		corrupt(bad, "k", "wrong")
		c.Net.SetLink(leader.IP, bad.IP, vnet.Link{Delay: 300 * time.Millisecond})
		stop := busy(t, c, func(i int) error { return put(leader, "n", fmt.Sprint(i)) })
		awaitQuarantine(t, bad)
		stop()
		leader.Crash()
		other.Crash()
		other.Config.Raft.HeartbeatTimeout, other.Config.Raft.ElectionTimeout = 10*time.Minute, 10*time.Minute
		other.Start() // votes, and has the patience to wait for others
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			if bad.Raft().State() == raft.Leader {
				t.Fatal("it leads")
			}
		}
		if _, err := get(bad, "k", stale); !structs.IsCode(err, structs.Quarantined) {
			t.Errorf("got %v, want code Quarantined", err)
		}
		leader.Start()
		inService(t, bad, "k")
		mustGet(t, bad, "k", stale, "right")
	}, often)
}

// Comparisons come with the time too, when nothing is written.
func TestStatesAreComparedInTime(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		time.Sleep(25 * time.Second)
		for _, n := range c.Up() {
			if agreed, _, _ := n.Verified(); agreed == 0 {
				t.Errorf("%s: no comparison in 25 seconds", n.Config.NodeName)
			}
		}
	}, func(_ int, c *rpcserver.Config) { c.VerifyEntries, c.VerifyInterval = 0, 10*time.Second })
}

// What servers keep from others on purpose, and how each came to its state, is
// no difference: log, snapshot, restore, half of a large entry, another history.
func TestHealthyServersAgree(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for i := range 60 {
			c.Put(fmt.Sprint("k/", i%7), fmt.Sprint(i))
			switch i {
			case 20:
				c.Followers()[0].Restart()
			case 30:
				n := c.Followers()[1]
				n.Crash()
				for j := range 40 {
					c.Put(fmt.Sprint("missed/", j), "x")
				}
				if err := c.Leader().Raft().Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
				n.Start()
			case 45:
				c.Leader().Restart()
			}
		}
		c.Agree()
		before := map[string]uint64{}
		for _, n := range c.Up() {
			before[n.Config.NodeName], _, _ = n.Verified()
		}
		for i := range 60 {
			c.Put("more", fmt.Sprint(i))
			time.Sleep(100 * time.Millisecond)
		}
		for _, n := range c.Up() {
			if agreed, _, _ := n.Verified(); agreed <= before[n.Config.NodeName] {
				t.Errorf("%s took part in no comparison", n.Config.NodeName)
			}
		}
	}, func(_ int, c *rpcserver.Config) { c.Raft.TrailingLogs, c.VerifyEntries = 5, 10 })
}

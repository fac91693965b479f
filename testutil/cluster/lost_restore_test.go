package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// loseRestore restores an archive, in which k is "old", on a leader that nobody
// hears, and returns it once the others have gone on with "new".
func loseRestore(t *testing.T, c *cluster.Cluster) *cluster.Node {
	t.Helper()
	c.Put("k", "old")
	archive := save(t, c.Leader())
	c.Put("k", "new")
	c.Agree()
	lost := c.Leader()
	waiting := wait(context.Background(), lost, "k", blockingRead(stale, 1<<40, 10*time.Minute))
	isolate(c, lost)
	// Writes behind the restore, so that its log is longer than that of the others.
	for i := range 40 {
		go func() {
			time.Sleep(50 * time.Millisecond)
			put(lost, fmt.Sprintf("lost/%d", i), "1")
		}()
	}
	if err := restore(lost, archive); !structs.IsCode(err, structs.Unclear) {
		t.Fatalf("restore without followers: got %v, want code Unclear", err)
	}
	if at := lost.Raft().LastIndex(); at < lost.FSM().Store().Epoch().Floor+40 {
		t.Errorf("the log ends at %d: the writes behind the restore are not in it", at)
	}
	if view := lost.FSM().Store().Read(); string(view.KV("k").Value) != "old" {
		t.Fatalf("k is %q: the restore has not happened here, so this shows nothing", view.KV("k").Value)
	}
	if !pending(waiting) {
		t.Errorf("a read was told of the lost restore: %+v", <-waiting)
	}
	go func() { <-waiting }()
	testutil.Eventually(t, time.Minute, "another leader", func() error {
		return put(others(c, lost)[0], "since", "1")
	})
	return lost
}

// neverOld reads k on the server in every way until it stops, and complains if
// it sees what only the lost restore had.
func neverOld(t *testing.T, n *cluster.Node) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, how := range []kind{plain, stale, consistent} {
				if s := n.Server; s != nil {
					if got, err := get(n, "k", how); err == nil && got != "new" {
						t.Errorf("a read of kind %d saw %q", how, got)
						return
					}
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-done }
}

// A restore whose leader loses leadership before anybody else has it did not
// happen: nobody sees it, and the server follows the others again.
func TestLostRestore(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(*cluster.Node){
		"comes back":   func(*cluster.Node) {},
		"is restarted": func(n *cluster.Node) { n.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				epoch := epochOf(t, c)
				lost := loseRestore(t, c)
				then(lost)
				stop := neverOld(t, lost)
				time.Sleep(time.Second)
				c.Net.Heal()
				start := time.Now()
				testutil.Eventually(t, 2*time.Minute, "the server follows again", func() error {
					if lost.FSM().Store().Read().KV("since") == nil {
						return errors.New("it does not have what was written since")
					}
					return nil
				})
				took(t, "catching up", start, 0, time.Minute)
				if got := epochOf(t, c); got != epoch {
					t.Errorf("the epoch has changed from %s to %s", epoch, got)
				}
				stop()
				c.Put("k", "newer")
				c.Agree()
				mustGet(t, lost, "k", stale, "newer")

				// It has a vote that counts, and a log that it can lead with.
				for _, n := range others(c, lost) {
					n.Crash()
					c.Put("k", "through "+n.Config.NodeName)
					n.Start()
					c.Agree()
				}
				if lost != c.Leader() {
					if err := operate(c.Leader(), "TransferLeader", lost); err != nil {
						t.Errorf("cannot make it the leader again: %v", err)
					}
				}
				c.Put("k", "last")
				c.Agree()
			})
		})
	}
}

// If the leader comes back before there is another one, its restore comes into
// force for all.
func TestRestoreThatComesIntoForceLate(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		archive := save(t, c.Leader())
		c.Put("k", "new")
		c.Agree()
		epoch := epochOf(t, c)
		leader := c.Leader()
		rest := others(c, leader)
		for _, n := range rest {
			n.Crash()
		}
		if err := restore(leader, archive); !structs.IsCode(err, structs.Unclear) {
			t.Fatalf("restore without followers: got %v, want code Unclear", err)
		}
		if got, err := get(leader, "k", stale); err == nil {
			t.Errorf("a stale read saw %q before the cluster had it", got)
		}
		rest[0].Start() // cannot win an election against the old leader
		if got := c.Get("k"); got != "old" {
			t.Errorf("got %q, want what was restored", got)
		}
		rest[1].Start()
		if got := epochOf(t, c); got == epoch {
			t.Errorf("the epoch is still %s", got)
		}
	})
}

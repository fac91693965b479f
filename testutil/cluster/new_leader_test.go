package cluster_test

import (
	"sync/atomic"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/testutil/cluster"
)

// A leader dies when it has acknowledged a write and has not yet told the others
// that it is committed. Its successor has the write in its log, and must not
// answer before it is in its state: here that takes a while, since the first entry
// of its own is slow to be stored.
func TestNewLeaderAnswersOnceItHasAll(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		time.Sleep(time.Second) // all have applied it
		dies, others := c.Leader(), c.Followers()
		c.Put("k", "new")
		dies.Crash()
		slow.Store(true)
		begun := time.Now()
		answered := make(chan time.Duration)
		for _, n := range others {
			for _, how := range []kind{plain, consistent} {
				go func() {
					mustGet(t, n, "k", how, "new")
					answered <- time.Since(begun)
				}()
			}
		}
		for range 2 * len(others) {
			if after := <-answered; after < 2*storing {
				t.Errorf("answered after %s: before the new leader can have stored an entry of its own", after)
			}
		}
		slow.Store(false)
	}, func(_ int, config *rpcserver.Config) {
		config.Raft.AroundWrite = func(what string, write func() error) error {
			if (what == "log" || what == "cut") && slow.Load() {
				time.Sleep(storing)
			}
			return write()
		}
	})
}

// storing is how long an entry takes: two servers store it one after the other.
const storing = 200 * time.Millisecond

package cluster_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// A leader whose disk is nearly full says so to whoever writes, through any
// server, and goes on reading, expiring sessions and leading. It takes writes
// again when there is space.
func TestDiskReserve(t *testing.T) {
	t.Parallel()
	var free [3]atomic.Uint64
	const reserve = 64 << 20
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		leader := c.Leader()
		at := int(leader.Config.NodeName[4] - '0')
		var session string
		create := structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{Node: leader.Config.NodeName, TTL: "10s"}}
		if err := leader.Call(t.Context(), "Session.Apply", &create, &session); err != nil {
			t.Fatal(err)
		}
		full := func(want bool) {
			t.Helper()
			time.Sleep(3 * time.Second)
			if got := leader.Alarms()["disk.full"] == 1; got != want {
				t.Errorf("the gauge disk.full: got %v, want %v", got, want)
			}
			for _, n := range c.Up() {
				if err := put(n, "k2", "v"); structs.IsCode(err, structs.DiskFull) != want || !want && err != nil {
					t.Errorf("%s: put: got %v, want refused: %v", n.Config.NodeName, err, want)
				}
				mustGet(t, n, "k", consistent, "v")
			}
		}
		full(false)
		free[(at+1)%3].Store(0) // a follower's own affair
		full(false)
		free[at].Store(reserve - 1)
		full(true)
		if _, err := txn(leader, kvOp(structs.KVSet, "k", "w")); !structs.IsCode(err, structs.DiskFull) {
			t.Errorf("transaction: got %v, want code DiskFull", err)
		}
		if err := restore(leader, save(t, leader)); !structs.IsCode(err, structs.DiskFull) {
			t.Errorf("restore: got %v, want code DiskFull", err)
		}
		time.Sleep(25 * time.Second)
		if c.Leader() != leader {
			t.Error("leadership has moved")
		}
		if leader.FSM().Store().Read().Session(session) != nil {
			t.Error("the session has not ended")
		}
		free[at].Store(reserve + 1) // not enough to be sure of
		full(true)
		free[at].Store(reserve * 2)
		full(false)
		free[at].Store(reserve - 1)
		full(true)
		limits := leader.Config.Limits
		limits.DiskReserve = 0
		leader.SetLimits(limits)
		full(false)
		leader.SetLimits(leader.Config.Limits)
		full(true)
		free[at].Store(1) // is an error
		full(false)
	}, func(i int, c *rpcserver.Config) {
		free[i].Store(1 << 40)
		c.DiskFree = func(string) (uint64, error) {
			if free[i].Load() == 1 {
				return 0, errors.New("not today")
			}
			return free[i].Load(), nil
		}
	})
}

//go:build linux

package netns_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/netns"
)

// Disks that are full, to the last byte or to the reserve, heal without a
// restart: while they are full reads go on, and when there is space again all
// servers serve, with all that was acknowledged. Seen in Consul 1.21.4: it
// needs a restart.
func TestFullDiskHeals(t *testing.T) {
	chaos(t)
	for name, test := range map[string]struct{ size, reserve int }{
		"to the last byte": {48, 0},
		"to the reserve":   {128, 64},
	} {
		t.Run(name, func(t *testing.T) {
			c := netns.NewCluster(t, 1, 3, func() *netns.Disk { return netns.NewTmpfs(t, int64(test.size)<<20) },
				"-hcl", fmt.Sprintf("limits { disk_reserve_mb = %d }", test.reserve),
				"-hcl", "raft_logstore { wal { segment_size_mb = 4 } }") // a segment takes its space at once
			w := turnWriter{t: t, size: 50_000, acknowledged: map[string]bool{}}
			w.until(c, true)
			for round, hit := range [][]*netns.Server{c.Servers, c.Servers[:1], c.Servers[1:], c.Servers} {
				var pids []int
				var free []func()
				for _, s := range hit {
					pids = append(pids, s.PID())
					free = append(free, s.Disk.Fill())
				}
				if len(hit) == len(c.Servers) {
					w.until(c, false)
				}
				for _, s := range c.Servers {
					if _, err := get(t, s, &structs.QueryOptions{AllowStale: true}); err != nil {
						t.Errorf("round %d: a stale read through %s while disks are full: %v", round, s.RPCAddr(), err)
					}
				}
				time.Sleep(4 * time.Second)
				for _, f := range free {
					f()
				}
				allServe(t, c, 30*time.Second, fmt.Sprint(round))
				w.until(c, true)
				for i, s := range hit {
					if s.PID() != pids[i] {
						t.Errorf("round %d: %s was started again", round, s.RPCAddr())
					}
				}
			}
			for _, s := range c.Servers {
				keys, err := get(t, s, &structs.QueryOptions{RequireConsistent: true})
				if err != nil {
					t.Fatal(err)
				}
				for key := range w.acknowledged {
					if !keys[key] {
						t.Errorf("%s has lost %s", s.RPCAddr(), key)
					}
				}
			}
			t.Logf("%d writes were acknowledged, %d not", len(w.acknowledged), w.written-len(w.acknowledged))
		})
	}
}

// get reads which keys there are through one server.
func get(t *testing.T, s *netns.Server, q *structs.QueryOptions) (map[string]bool, error) {
	t.Helper()
	c, err := client.New(s.RPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	rows, _, err := c.KV().List(ctx, "", q)
	keys := map[string]bool{}
	for _, row := range rows {
		keys[row.Key] = true
	}
	return keys, err
}

// turnWriter writes keys one after the other.
type turnWriter struct {
	t            *testing.T
	size         int // of the values
	written      int
	acknowledged map[string]bool
}

// until writes through all servers in turn until a write succeeds, or fails.
func (w *turnWriter) until(c *netns.Cluster, success bool) {
	w.t.Helper()
	value := []byte(strings.Repeat("v", w.size))
	testutil.Eventually(w.t, time.Minute, fmt.Sprintf("a write that succeeds: %v", success), func() error {
		s := c.Servers[w.written%len(c.Servers)]
		conn, err := client.New(s.RPCAddr())
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
		defer cancel()
		key := fmt.Sprint("fill/", w.written)
		w.written++
		err = conn.KV().Put(ctx, key, value)
		if err == nil {
			w.acknowledged[key] = true
		}
		if (err == nil) != success {
			return fmt.Errorf("%s: %v", key, err)
		}
		return nil
	})
}

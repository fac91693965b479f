//go:build linux

package netns_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/netns"
)

// A server that loses power just after it has taken a snapshot and cut its log
// starts again, with all that was acknowledged.
func TestPowerLossAfterASnapshot(t *testing.T) {
	chaos(t)
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := netns.NewCluster(t, 1, 1, func() *netns.Disk { return netns.NewDurable(t, 256<<20) }, "-hcl", shortLog(backend))
			s := c.Servers[0]
			w := turnWriter{t: t, size: 100, acknowledged: map[string]bool{}}
			for range 4 {
				before, _ := filepath.Glob(filepath.Join(s.Dir, "raft/snapshots/*/meta.json"))
				testutil.Eventually(t, 30*time.Second, "a snapshot", func() error {
					w.until(c, true)
					now, _ := filepath.Glob(filepath.Join(s.Dir, "raft/snapshots/*/meta.json"))
					if len(now) == 0 || fmt.Sprint(now) == fmt.Sprint(before) {
						return fmt.Errorf("there are still %v", now)
					}
					return nil
				})
				w.until(c, true)
				// Somebody else's fsync has the file system note all files that there are,
				// also those whose content it has not written.
				write(t, filepath.Join(s.Disk.Dir, "other"), 'x', true)
				s.Kill()
				s.Disk.LosePower()
				s.Start()
				s.AwaitLeader()
				keys, err := get(t, s, &structs.QueryOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for key := range w.acknowledged {
					if !keys[key] {
						t.Errorf("%s is lost", key)
					}
				}
			}
			t.Logf("%d writes were acknowledged", len(w.acknowledged))
		})
	}
}

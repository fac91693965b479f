//go:build linux

package netns_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
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

// A restore that was acknowledged outlives a loss of power, and nothing else comes
// back.
func TestPowerLossAfterARestore(t *testing.T) {
	chaos(t)
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := netns.NewCluster(t, 1, 1, func() *netns.Disk { return netns.NewDurable(t, 256<<20) }, "-hcl", shortLog(backend))
			s := c.Servers[0]
			w := turnWriter{t: t, size: 300_000, acknowledged: map[string]bool{}} // the archive is no small file
			for range 20 {
				w.until(c, true)
			}
			archive := snapshot(t, s, http.MethodGet, nil)
			want := maps.Clone(w.acknowledged)
			for range 3 {
				w.until(c, true)
				snapshot(t, s, http.MethodPut, archive)
				write(t, filepath.Join(s.Disk.Dir, "other"), 'x', true)
				s.Kill()
				s.Disk.LosePower()
				s.Start()
				s.AwaitLeader()
				keys, err := get(t, s, &structs.QueryOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(keys, want) {
					t.Errorf("%d keys are there, want the %d of the archive", len(keys), len(want))
				}
				if bad, err := filepath.Glob(filepath.Join(s.Dir, "raft/damaged*")); err != nil || len(bad) > 0 {
					t.Errorf("damaged: %v, %v", bad, err)
				}
			}
		})
	}
}

// snapshot saves or restores over HTTP.
func snapshot(t *testing.T, s *netns.Server, method string, archive []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.HTTPAddr()+"/v1/snapshot", bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		t.Fatalf("%s of a snapshot: %s %v %.200s", method, reply.Status, err, body)
	}
	return body
}

package rpcserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"praetor/rpcserver"
	"praetor/structs"
)

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write logs.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is what was logged so far.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func saved(t testing.TB, s *rpcserver.Server) []byte {
	t.Helper()
	in, _, err := s.SaveSnapshot(context.Background(), &structs.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A restore loads its snapshot once, whether there is a disk or not, and restores
// that come at the same time do not get each other's state. A save takes no
// snapshot of raft's.
func TestRestoreLoadsOnce(t *testing.T) {
	t.Parallel()
	for _, disk := range []bool{true, false} {
		t.Run(fmt.Sprintf("disk %v", disk), func(t *testing.T) {
			t.Parallel()
			dir := ""
			if disk {
				dir = t.TempDir()
			}
			var log lines
			s := startServer(t, func(c *rpcserver.Config) {
				c.DataDir = dir
				c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info})
			})
			kv := newClient(t, s).KV()
			var archives [][]byte
			for i := range 4 {
				if err := kv.Put(t.Context(), "k", []byte(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
				archives = append(archives, saved(t, s))
			}
			if found, _ := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*-*")); disk && len(found) > 0 {
				t.Errorf("saving has left snapshots of raft's: %v", found)
			}
			var wait sync.WaitGroup
			for _, a := range archives {
				wait.Go(func() {
					err := s.RestoreSnapshot(context.Background(), &structs.SnapshotRequest{}, bytes.NewReader(a))
					if err != nil && !structs.IsCode(err, structs.Unclear) { // the next one has come over it
						t.Error(err)
					}
				})
			}
			wait.Wait()
			for i, a := range archives {
				if err := s.RestoreSnapshot(context.Background(), &structs.SnapshotRequest{}, bytes.NewReader(a)); err != nil {
					t.Fatal(err)
				}
				if e, _, err := kv.Get(t.Context(), "k", nil); err != nil || string(e.Value) != fmt.Sprint(i) {
					t.Errorf("restore %d: got %+v, %v", i, e, err)
				}
			}
			if strings.Contains(log.String(), "loaded a second time") {
				t.Error("a snapshot was loaded twice")
			}
		})
	}
}

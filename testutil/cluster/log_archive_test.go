package cluster_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"praetor/agent/backup"
	"praetor/agent/backup/journal"
	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// archivist archives the log of one server, as its agent does.
type archivist struct {
	*journal.Archiver
	backup.Target
	stop context.CancelFunc
	done chan struct{}
	dead atomic.Bool // what a server that has crashed still sends does not arrive
}

func archiveLog(t testing.TB, n *cluster.Node, target backup.Target) *archivist {
	t.Helper()
	a := &archivist{Target: target, done: make(chan struct{})}
	server := n.Server
	a.Archiver = journal.New(journal.Config{
		Source: server, Target: a, Lag: 5 * time.Second, SegmentSize: 2000, Logger: testutil.Logger(t, n.Config.NodeName),
		Backup: func(ctx context.Context) error {
			begun := time.Now()
			snap, err := server.Archive(ctx)
			if err != nil {
				return err
			}
			defer snap.Close()
			content, err := io.ReadAll(snap)
			if err != nil {
				return err
			}
			record, err := json.Marshal(structs.BackupRecord{
				Name: fmt.Sprintf("%020d-%d", snap.Index, begun.UnixMilli()), Index: snap.Index, Time: begun, Size: int64(len(content)),
				SHA256: fmt.Sprintf("%x", sha256.Sum256(content)), StateHash: snap.StateHash(), Verified: true,
			})
			name := fmt.Sprintf("snap/%020d-%d", snap.Index, begun.UnixMilli())
			return errors.Join(err, a.Put(ctx, name+".snap", bytes.NewReader(content)), a.Put(ctx, name+".json", bytes.NewReader(record)))
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() {
		defer close(a.done)
		a.Run(ctx)
	}()
	return a
}

func (a *archivist) end() {
	a.stop()
	<-a.done
}

func (a *archivist) Put(ctx context.Context, name string, r io.Reader) error {
	if a.dead.Load() {
		return errors.New("dead")
	}
	return a.Target.Put(ctx, name, r)
}

// built builds the state at a point.
func built(t testing.TB, target backup.Target, p journal.Point) (*journal.Result, *fsm.Loaded) {
	t.Helper()
	var snap, state bytes.Buffer
	result, err := journal.Rebuild(t.Context(), target, p, "", &snap)
	if err != nil {
		t.Fatalf("rebuild %+v: %v", p, err)
	}
	if _, err := archive.Read(&snap, &state); err != nil {
		t.Fatal(err)
	}
	loaded, err := fsm.Load(&state)
	if err != nil {
		t.Fatal(err)
	}
	return result, loaded
}

// Leaders die and take over while the log is archived: one chain comes of it,
// without a gap, and it gives the state that the servers have. A restore begins
// another.
func TestLogArchiveThroughFailovers(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		target, err := backup.Open(t.TempDir(), backup.Options{})
		if err != nil {
			t.Fatal(err)
		}
		archivists := map[*cluster.Node]*archivist{}
		for _, n := range c.Nodes {
			archivists[n] = archiveLog(t, n, target)
		}
		defer func() {
			for _, a := range archivists {
				a.end()
			}
		}()
		for round := range 5 {
			for i := range 10 {
				c.Put(fmt.Sprintf("app/%d/%d", round, i), strings.Repeat("v", i*40))
				time.Sleep(700 * time.Millisecond)
			}
			leader := c.Leader()
			if round%2 == 0 {
				archivists[leader].dead.Store(true)
				leader.Crash()
				archivists[leader].end()
				c.Put(fmt.Sprint("meanwhile/", round), "1")
				leader.Start()
				archivists[leader] = archiveLog(t, leader, target)
			} else if err := operate(leader, "TransferLeader", c.Followers()[0]); err != nil {
				t.Fatalf("transfer: %v", err)
			}
		}
		// settled compares what is built of all that is archived with the servers.
		settled := func() structs.LogArchiveStatus {
			t.Helper()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			leader := c.Leader()
			index := leader.Raft().AppliedIndex()
			view := leader.FSM().View()
			want := view.Hash()
			time.Sleep(6 * time.Second)
			result, _ := built(t, target, journal.Point{Index: index})
			if result.Hash != want {
				t.Errorf("index %d: hash %x, the servers had %x", index, result.Hash, want)
			}
			status := archivists[leader].Status()
			if status.Error != "" || status.AwaitBackup || status.Index < index {
				t.Errorf("status: %+v", status)
			}
			return status
		}
		status := settled()
		if len(status.Gaps) != 0 {
			t.Errorf("gaps: %v", status.Gaps)
		}
		log, err := journal.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if chains := log.Chains(); len(chains) != 1 {
			t.Errorf("%d chains, want 1", len(chains))
		}

		c.Put("app/last", "1")
		before := save(t, c.Leader())
		if err := c.Client().KV().DeleteTree(t.Context(), "app/"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if log, err = journal.Open(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		var deleted journal.Change
		for change, err := range log.Changes(t.Context(), journal.Filter{Command: "delete-tree app/"}) {
			if err != nil {
				t.Fatal(err)
			}
			deleted = change
		}
		_, loaded := built(t, target, journal.Point{Index: deleted.Index - 1})
		if got := len(loaded.Store.Read().KVTree("app/")); got != 51 {
			t.Errorf("before the delete there are %d keys, want 51", got)
		}
		if _, loaded = built(t, target, journal.Point{}); len(loaded.Store.Read().KVTree("app/")) != 0 {
			t.Error("after the delete there are keys")
		}

		if err := restore(c.Leader(), before); err != nil {
			t.Fatal(err)
		}
		c.Put("since", "1")
		if again := settled(); again.Chain == status.Chain || len(again.Gaps) != 1 {
			t.Errorf("after a restore: chain %s, gaps %v, want another chain than %s and one gap", again.Chain, again.Gaps, status.Chain)
		}
	})
}

package bench

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"

	"praetor/structs"
)

// emptyFSM does nothing, in batches.
type emptyFSM struct{}

func (emptyFSM) Apply(*raft.Log) any                 { return nil }
func (emptyFSM) ApplyBatch(logs []*raft.Log) []any   { return make([]any, len(logs)) }
func (emptyFSM) Snapshot() (raft.FSMSnapshot, error) { return emptySnapshot{}, nil }
func (emptyFSM) Restore(r io.ReadCloser) error       { return r.Close() }

type emptySnapshot struct{}

func (emptySnapshot) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (emptySnapshot) Release()                             {}

// Floor is raft with raft-wal, the log store of a new server, and a state machine that does nothing, in this process:
// the rate at which it takes commands is what a server cannot exceed.
func Floor(tb testing.TB) Op {
	tb.Helper()
	entry, err := structs.EncodeCommand(Put(0))
	if err != nil {
		tb.Fatal(err)
	}
	node := StartRaft(tb, emptyFSM{})
	return func(int, int) error { return node.Apply(entry, time.Minute).Error() }
}

// StartRaft starts a raft of one server on disk, set up as rpcserver sets its up.
func StartRaft(tb testing.TB, machine raft.FSM) *raft.Raft {
	dir := tb.TempDir()
	log := filepath.Join(dir, "wal")
	if err := os.Mkdir(log, 0o700); err != nil {
		tb.Fatal(err)
	}
	store, err := raftwal.Open(log)
	if err != nil {
		tb.Fatal(err)
	}
	cache, err := raft.NewLogCache(512, store)
	if err != nil {
		tb.Fatal(err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, hclog.NewNullLogger())
	if err != nil {
		tb.Fatal(err)
	}
	addr, transport := raft.NewInmemTransport("")
	config := raft.DefaultConfig()
	config.LocalID = "one"
	config.Logger = hclog.NewNullLogger()
	config.BatchApplyCh = true
	config.NoLegacyTelemetry = true
	config.SnapshotThreshold = 16384
	config.SnapshotInterval = 30 * time.Second
	alone := raft.Configuration{Servers: []raft.Server{{ID: "one", Address: addr}}}
	if err := raft.BootstrapCluster(config, cache, store, snapshots, transport, alone); err != nil {
		tb.Fatal(err)
	}
	node, err := raft.NewRaft(config, machine, cache, store, snapshots, transport)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		node.Shutdown().Error()
		store.Close()
	})
	<-node.LeaderCh()
	return node
}

package bench_test

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"praetor/fsm"
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

func setupFloor(b *testing.B) (func(caller, i int) error, int) {
	entry, err := structs.EncodeCommand(put(0))
	if err != nil {
		b.Fatal(err)
	}
	node := startRaft(b, emptyFSM{})
	return func(int, int) error { return node.Apply(entry, time.Minute).Error() }, 0
}

func setupFSM(b *testing.B) (func(caller, i int) error, int) {
	entries := make([][]byte, keys)
	for i := range entries {
		var err error
		if entries[i], err = structs.EncodeCommand(put(i)); err != nil {
			b.Fatal(err)
		}
	}
	node := startRaft(b, fsm.New())
	return func(_, i int) error { return node.Apply(entries[i%keys], time.Minute).Error() }, 0
}

func put(i int) *structs.KVSRequest {
	return &structs.KVSRequest{Datacenter: "dc1", Op: structs.KVSet, DirEnt: structs.DirEntry{Key: keyName(i), Value: value, Flags: uint64(i)}}
}

// startRaft starts a raft of one server on disk, set up as rpcserver sets its up.
func startRaft(b *testing.B, machine raft.FSM) *raft.Raft {
	dir := b.TempDir()
	store, err := raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(dir, "raft.db"),
		BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if err != nil {
		b.Fatal(err)
	}
	cache, err := raft.NewLogCache(512, store)
	if err != nil {
		b.Fatal(err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
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
		b.Fatal(err)
	}
	node, err := raft.NewRaft(config, machine, cache, store, snapshots, transport)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		node.Shutdown().Error()
		store.Close()
	})
	<-node.LeaderCh()
	return node
}

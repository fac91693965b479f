package rpcserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"

	"praetor/structs"
)

// logStore keeps raft's log and its few stable values.
type logStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// memoryStore is for development: it forgets.
type memoryStore struct{ *raft.InmemStore }

func (memoryStore) Close() error { return nil }

// openLogStore opens the store in the raft directory. Every entry is on disk,
// synced, before it counts. A file that is not ours, or is damaged, or is used
// by another process, is an error and is left as it is.
func openLogStore(dir, owner string, config Raft) (logStore, error) {
	file := filepath.Join(dir, "raft.db")
	if config.Backend == "wal" {
		if _, err := os.Stat(file); err == nil {
			return nil, fmt.Errorf("raft_logstore.backend is \"wal\", but %s holds a boltdb log: set it to \"boltdb\", or start with an empty data directory", file)
		}
		return openWAL(filepath.Join(dir, "wal"), config)
	}
	if _, err := os.Stat(filepath.Join(dir, "wal")); err == nil {
		return nil, fmt.Errorf("raft_logstore.backend is %q, but %s holds a log: set it to \"wal\", or start with an empty data directory", config.Backend, filepath.Join(dir, "wal"))
	}
	if err := checkPresent(file); err != nil {
		return nil, err
	}
	if err := checkPages(file); err != nil {
		return nil, err
	}
	if config.Backend == "sealed" {
		return openSealed(file, owner, config)
	}
	return openBolt(file, config)
}

// openBolt opens the store of raft-boltdb, the one that Consul's raft.db has.
func openBolt(file string, config Raft) (store logStore, err error) {
	defer func() { // bbolt panics on some damage
		if p := recover(); p != nil {
			store, err = nil, damaged(file, fmt.Errorf("%v", p))
		}
	}()
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: file, BoltOptions: boltOptions(config)})
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return nil, inUse(file)
	case errors.Is(err, bbolt.ErrInvalid), errors.Is(err, bbolt.ErrChecksum), errors.Is(err, bbolt.ErrVersionMismatch):
		return nil, damaged(file, err)
	case err != nil:
		return nil, fmt.Errorf("cannot open the raft log %s: %w", file, err)
	}
	if _, err := bolt.Get([]byte(recordKey)); err == nil {
		return nil, errors.Join(fmt.Errorf("%s has sealed entries, and what is written without seals would look like damage: "+
			"set raft_logstore.backend to \"sealed\"", file), bolt.Close())
	}
	return bolt, nil
}

func inUse(file string) error {
	return fmt.Errorf("%s is in use by another process: is another server running on this data directory?", file)
}

func boltOptions(config Raft) *bbolt.Options {
	return &bbolt.Options{
		Timeout:        time.Second,
		NoFreelistSync: !config.FreelistSync,
		FreelistType:   bbolt.FreelistMapType, // the other kind is slow once the log has been cut often
	}
}

// openSealed opens our own store in a file of the same layout.
func openSealed(file, owner string, config Raft) (logStore, error) {
	store := &boltStore{file: file}
	err := store.guard(func() error { return store.open(config) })
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, inUse(file)
	}
	if errors.Is(err, bbolt.ErrInvalid) || errors.Is(err, bbolt.ErrChecksum) || errors.Is(err, bbolt.ErrVersionMismatch) {
		return nil, damaged(file, err)
	}
	if err == nil {
		err = store.load(owner)
	}
	if structs.IsCode(err, structs.Corrupt) {
		store.closeQuietly()
		return nil, err
	}
	if err != nil {
		store.closeQuietly()
		return nil, fmt.Errorf("cannot open the raft log %s: %w", file, err)
	}
	return store, nil
}

// checkPresent refuses to begin anew, with neither term nor vote, where a server
// has been before: peers.info is written at its first start, after the log.
func checkPresent(file string) error {
	if info, err := os.Stat(file); err == nil && info.Size() > 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "peers.info")); err == nil {
		return structs.Errorf(structs.Corrupt, "%s is gone", file)
	}
	return nil
}

// damaged says that a file of the raft directory is not what was written.
func damaged(file string, err error) error {
	return structs.Errorf(structs.Corrupt, "%s is damaged (%v)", file, err)
}

func openWAL(dir string, config Raft) (logStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot use the raft log directory: %w", err)
	}
	meta := &metadb.BoltMetaDB{}
	store, err := wal.Open(dir, wal.WithSegmentSize(config.SegmentSizeMB<<20), wal.WithMetaStore(meta))
	if err != nil {
		return nil, fmt.Errorf("cannot open the raft log in %s: %w", dir, errors.Join(err, meta.Close()))
	}
	return walStore{store, meta}, nil
}

package rpcserver

import (
	"encoding/binary"
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
func openLogStore(dir string, config Raft) (logStore, error) {
	file := filepath.Join(dir, "raft.db")
	if config.Backend == "wal" {
		if _, err := os.Stat(file); err == nil {
			return nil, fmt.Errorf("raft_logstore.backend is \"wal\", but %s holds a boltdb log: set it to \"boltdb\", or start with an empty data directory", file)
		}
		return openWAL(filepath.Join(dir, "wal"), config)
	}
	if _, err := os.Stat(filepath.Join(dir, "wal")); err == nil {
		return nil, fmt.Errorf("raft_logstore.backend is \"boltdb\", but %s holds a log: set it to \"wal\", or start with an empty data directory", filepath.Join(dir, "wal"))
	}
	return openBolt(file, config)
}

func openBolt(file string, config Raft) (store logStore, err error) {
	if err := checkBolt(file); err != nil {
		return nil, err
	}
	defer func() { // bbolt panics on some damage
		if p := recover(); p != nil {
			store, err = nil, damaged(file, fmt.Errorf("%v", p))
		}
	}()
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: file,
		BoltOptions: &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: !config.FreelistSync,
			FreelistType:   bbolt.FreelistMapType, // the other kind is slow once the log has been cut often
		},
	})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use by another process: is another server running on this data directory?", file)
	}
	if errors.Is(err, bbolt.ErrInvalid) || errors.Is(err, bbolt.ErrChecksum) || errors.Is(err, bbolt.ErrVersionMismatch) {
		return nil, damaged(file, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the raft log %s: %w", file, err)
	}
	return bolt, nil
}

func damaged(file string, err error) error {
	return fmt.Errorf("%s is damaged or not a raft log (%v): nothing was changed; move it away and let this server "+
		"catch up from the others, or restore a snapshot", file, err)
}

// checkBolt looks at the two meta pages of a bbolt file: if the newer valid one
// counts more pages than the file has, reading the rest would crash the process.
func checkBolt(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the raft log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot read the raft log: %w", err)
	}
	if info.Size() == 0 {
		return nil // bbolt makes a new file of it
	}
	// A page starts with a header of 16 bytes. The meta page has after it: magic
	// u32, version u32, page size u32, flags u32, root u64 u64, freelist u64,
	// number of pages u64, transaction u64, checksum u64.
	var needed, newest uint64
	found := false
	for _, offset := range []int64{0, int64(os.Getpagesize())} {
		page := make([]byte, 16+64)
		if _, err := f.ReadAt(page, offset); err != nil {
			continue
		}
		meta := page[16:]
		if binary.NativeEndian.Uint32(meta) != 0xED0CDAED {
			continue
		}
		size := uint64(binary.NativeEndian.Uint32(meta[8:]))
		pages, txid := binary.NativeEndian.Uint64(meta[40:]), binary.NativeEndian.Uint64(meta[48:])
		if !found || txid > newest {
			found, newest, needed = true, txid, size*pages
		}
	}
	if !found {
		return damaged(file, errors.New("no page of it starts as it should"))
	}
	if uint64(info.Size()) < needed {
		return damaged(file, fmt.Errorf("it is cut short: %d of %d bytes are there", info.Size(), needed))
	}
	return nil
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

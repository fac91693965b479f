package logstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"go.etcd.io/bbolt"
)

// metaBuckets are those of raft-wal's wal-meta.db, a bbolt file that says which
// segments there are, and has the stable values.
var metaBuckets = []string{metadb.MetaBucket, metadb.StableBucket}

func metaPath(dir string) string { return filepath.Join(dir, metadb.FileName) }

// walLog is a raft-wal. After an append that failed, on a full disk for one, the
// library (v0.4.0) takes none any more: its newest segment has entries in memory
// that are not on disk, or is closed without a next one. So the log is opened
// again before the next append, and what the failed one may have left is deleted.
type walLog struct {
	dir     string
	options Options

	mu     sync.RWMutex // held to open it again, and shared to use it
	wal    *raftwal.WAL
	meta   *walMeta
	last   uint64 // newest entry whose append did not fail
	failed bool
}

func openWAL(dir string, o Options) (backend, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if present(metaPath(dir)) { // the library would wait for the lock for ever
		db, err := bbolt.Open(metaPath(dir), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
		if err != nil {
			return nil, err
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
	w := &walLog{dir: dir, options: o}
	if err := w.open(); err != nil {
		return nil, err
	}
	last, err := w.wal.LastIndex()
	w.last = last
	return w, err
}

func (w *walLog) open() error {
	meta := newWALMeta(w.dir)
	log, err := raftwal.Open(w.dir, raftwal.WithSegmentSize(w.options.SegmentSize), raftwal.WithMetaStore(meta),
		raftwal.WithSegmentFiler(segment.NewFiler(w.dir, segmentFS{walfs.New()})),
		raftwal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return errors.Join(err, meta.Close())
	}
	w.wal, w.meta = log, meta
	return nil
}

// close closes the meta store too, which the library leaves open and locked.
func (w *walLog) close() error { return errors.Join(w.wal.Close(), w.meta.Close()) }

// reopen gets the log going again after an append that failed.
func (w *walLog) reopen() error {
	w.close()
	if err := w.open(); err != nil {
		return fmt.Errorf("cannot open the raft log again after a write that failed: %w", err)
	}
	last, err := w.wal.LastIndex()
	if err == nil && last > w.last {
		err = w.wal.DeleteRange(w.last+1, last)
	}
	if err == nil {
		w.failed = false
	}
	return err
}

// in runs do on the log. Only what reopens it keeps others out.
func (w *walLog) in(do func(*raftwal.WAL) error) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return do(w.wal)
}

// StoreLogs stores entries, all or none, and returns when they are on disk. Store
// calls it, and DeleteRange, one at a time.
func (w *walLog) StoreLogs(logs []*raft.Log) error {
	if w.failed {
		w.mu.Lock()
		err := w.reopen()
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	err := w.in(func(log *raftwal.WAL) error { return log.StoreLogs(logs) })
	if w.failed = err != nil; !w.failed {
		w.last = logs[len(logs)-1].Index
	}
	return err
}

// StoreLog stores an entry.
func (w *walLog) StoreLog(log *raft.Log) error { return w.StoreLogs([]*raft.Log{log}) }

// settle waits until a next segment has been begun, if the newest one is full.
// Another goroutine of the library does that, and if DeleteRange comes before it,
// it begins one more in the wrong place (v0.4.0). An append waits for it; this one
// leaves a gap, so that it is refused after that.
func settle(log *raftwal.WAL) {
	if last, err := log.LastIndex(); err == nil && last > 0 {
		log.StoreLogs([]*raft.Log{{Index: last + 2}})
	}
}

// DeleteRange deletes entries at one of the two ends.
func (w *walLog) DeleteRange(first, last uint64) error {
	return w.in(func(log *raftwal.WAL) error {
		settle(log)
		if err := log.DeleteRange(first, last); err != nil {
			return err
		}
		if last >= w.last && first > 0 {
			w.last = min(w.last, first-1)
		}
		return nil
	})
}

// FirstIndex is the oldest entry's, 0 if there is none.
func (w *walLog) FirstIndex() (index uint64, err error) {
	err = w.in(func(log *raftwal.WAL) error { index, err = log.FirstIndex(); return err })
	return index, err
}

// LastIndex is the newest entry's, 0 if there is none.
func (w *walLog) LastIndex() (index uint64, err error) {
	err = w.in(func(log *raftwal.WAL) error { index, err = log.LastIndex(); return err })
	return index, err
}

// GetLog reads an entry.
func (w *walLog) GetLog(index uint64, entry *raft.Log) error {
	return w.in(func(log *raftwal.WAL) error { return log.GetLog(index, entry) })
}

// Set stores a stable value.
func (w *walLog) Set(key, value []byte) error {
	return w.in(func(log *raftwal.WAL) error { return log.Set(key, value) })
}

// Get returns a stable value, nil if it was never set.
func (w *walLog) Get(key []byte) (value []byte, err error) {
	err = w.in(func(log *raftwal.WAL) error { value, err = log.Get(key); return err })
	return value, err
}

// SetUint64 stores a stable value that is a number.
func (w *walLog) SetUint64(key []byte, n uint64) error {
	return w.in(func(log *raftwal.WAL) error { return log.SetUint64(key, n) })
}

// GetUint64 returns a stable value that is a number, 0 if it was never set.
func (w *walLog) GetUint64(key []byte) (n uint64, err error) {
	err = w.in(func(log *raftwal.WAL) error { n, err = log.GetUint64(key); return err })
	return n, err
}

// IsMonotonic says that there are no gaps in this log.
func (w *walLog) IsMonotonic() bool { return true }

// Close closes it for good.
func (w *walLog) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.close()
}

package logstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"go.etcd.io/bbolt"
)

// walReader reads a raft-wal directory. The library opens for writing only, so it
// is given files and a meta store that can only be read.
type walReader struct {
	*raftwal.WAL
	meta *readMeta
}

var errReadOnly = errors.New("the log is open for reading only")

func readWAL(dir string) (reader, error) {
	meta := &readMeta{}
	log, err := raftwal.Open(dir, raftwal.WithMetaStore(meta), raftwal.WithLogger(hclog.NewNullLogger()),
		raftwal.WithSegmentFiler(segment.NewFiler(dir, readFiles{fs.New()})))
	if err != nil {
		meta.Close()
		return nil, err
	}
	return walReader{log, meta}, nil
}

func (w walReader) bounds() (first, last uint64, err error) {
	first, err = w.FirstIndex()
	if err == nil {
		last, err = w.LastIndex()
	}
	return first, last, err
}

func (w walReader) value(key string) ([]byte, error) { return w.meta.GetStable([]byte(key)) }

func (w walReader) number(value []byte) uint64 { return binary.LittleEndian.Uint64(value) }

func (w walReader) entry(index uint64) (*raft.Log, error) {
	entry := new(raft.Log)
	if err := w.GetLog(index, entry); err != nil {
		return nil, err
	}
	return entry, nil
}

// close closes the meta store too, which the library leaves open.
func (w walReader) close() error { return errors.Join(w.Close(), w.meta.Close()) }

// readFiles opens every file for reading; one that raft-wal would create is
// empty, and one that it would delete stays.
type readFiles struct{ *fs.FS }

// Create pretends that there is a new file.
func (readFiles) Create(string, string, uint64) (types.WritableFile, error) { return noFile{}, nil }

// Delete leaves the file where it is.
func (readFiles) Delete(string, string) error { return nil }

// OpenWriter opens the file for reading.
func (f readFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	file, err := os.Open(filepath.Join(dir, name))
	return readFile{file}, err
}

// readFile refuses to be written to.
type readFile struct{ *os.File }

// WriteAt refuses.
func (readFile) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }

// Sync has nothing to do.
func (readFile) Sync() error { return nil }

// noFile is an empty file that is nowhere.
type noFile struct{}

// ReadAt finds the end at once.
func (noFile) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// WriteAt refuses.
func (noFile) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }

// Sync has nothing to do.
func (noFile) Sync() error { return nil }

// Close has nothing to do.
func (noFile) Close() error { return nil }

// readMeta is raft-wal's meta store (see its package metadb), read only.
type readMeta struct{ db *bbolt.DB }

// Load reads which segments there are.
func (m *readMeta) Load(dir string) (state types.PersistentState, err error) {
	m.db, err = bbolt.Open(filepath.Join(dir, metadb.FileName), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return state, err
	}
	value, err := m.value(metadb.MetaBucket, []byte(metadb.MetaKey))
	if err == nil && value != nil {
		err = json.Unmarshal(value, &state)
	}
	return state, err
}

func (m *readMeta) value(bucket string, key []byte) (value []byte, err error) {
	err = m.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return fmt.Errorf("%s has no bucket %q", metadb.FileName, bucket)
		}
		if stored := b.Get(key); stored != nil {
			value = append([]byte{}, stored...)
		}
		return nil
	})
	return value, err
}

// CommitState keeps nothing: all that is there stays as it is.
func (*readMeta) CommitState(types.PersistentState) error { return nil }

// GetStable reads one of raft's few values.
func (m *readMeta) GetStable(key []byte) ([]byte, error) { return m.value(metadb.StableBucket, key) }

// SetStable refuses.
func (*readMeta) SetStable([]byte, []byte) error { return errReadOnly }

// Close closes the file.
func (m *readMeta) Close() error {
	if m.db == nil {
		return nil
	}
	return m.db.Close()
}

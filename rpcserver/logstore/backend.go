package logstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"praetor/structs"
)

// Options say how the log is kept.
type Options struct {
	Backend      string // "boltdb" or "wal"; "" is the one that is there, else Default
	FreelistSync bool   // boltdb: write the freelist to disk
	SegmentSize  int    // wal: bytes of a file
}

// Default is the backend of a new server that does not say which.
const Default = "wal"

// kind is one of the two formats. The numbers are on disk.
type kind byte

const (
	boltdb kind = 1
	wal    kind = 2
)

var kinds = map[kind]string{boltdb: "boltdb", wal: "wal"}

func kindOf(backend string) (kind, error) {
	for k, name := range kinds {
		if name == backend {
			return k, nil
		}
	}
	return 0, structs.Errorf(structs.Invalid, "there is no log store %q: it is \"boltdb\" or \"wal\"", backend)
}

// path is where a log of the kind is in the raft directory.
func (k kind) path(dir string) string {
	if k == wal {
		return filepath.Join(dir, "wal")
	}
	return filepath.Join(dir, "raft.db")
}

// backend is a store of one of the libraries.
type backend interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// open opens a log of the kind for writing, and makes it if it is not there.
func (k kind) open(path string, o Options) (b backend, err error) {
	err = guard(path, func() error {
		if k == wal {
			b, err = openWAL(path, o)
		} else {
			b, err = openBolt(path, o)
		}
		return err
	})
	var denied *fs.PathError
	switch {
	case err == nil || structs.IsCode(err, structs.Corrupt):
	case errors.Is(err, bbolt.ErrTimeout):
		err = inUse(path)
	case errors.As(err, &denied) && !errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("cannot open the raft log %s: %w", path, err)
	default:
		err = damaged(path, err)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// check looks at what the library would trust.
func (k kind) check(path string) error {
	if k == wal {
		return checkPages(metaPath(path), metaBuckets)
	}
	return checkPages(path, boltBuckets)
}

func present(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func inUse(path string) error {
	return structs.Errorf(structs.Busy, "%s is in use by another process: a server runs on this data directory; stop it first", path)
}

// damaged says that a file of the raft directory is not what was written.
func damaged(file string, err error) error {
	return structs.Errorf(structs.Corrupt, "%s is damaged (%v)", file, err)
}

// guard runs do and makes an error of a panic: the libraries panic on some damage,
// and memory that is mapped from a file which is too short faults.
func guard(file string, do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(file, fmt.Errorf("%v", p))
		}
	}()
	return do()
}

package recovery_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft-wal/metadb"
)

// closableMeta is the meta store of a raft-wal, which the library does not close.
type closableMeta struct{ metadb.BoltMetaDB }

// holdLock holds the lock of a data directory as a server does.
func holdLock(t *testing.T, dir string) *os.File {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, "praetor.lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	return file
}

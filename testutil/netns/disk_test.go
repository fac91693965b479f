//go:build linux

package netns_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"praetor/testutil"
	"praetor/testutil/netns"
)

func write(t *testing.T, name string, with byte, sync bool) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.Write(bytes.Repeat([]byte{with}, 100_000))
	}
	if err == nil && sync {
		err = file.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
}

// What was fsynced is there after a loss of power, and nothing else is.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	disk := netns.NewDurable(t, 32<<20)
	synced, never := filepath.Join(disk.Dir, "synced"), filepath.Join(disk.Dir, "never")
	write(t, synced, 'a', true)
	write(t, synced, 'b', false)
	write(t, never, 'c', false)
	if err := os.Rename(synced, synced+".renamed"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second has nothing more to take
		disk.LosePower()
		if have, err := os.ReadFile(synced); string(have) != string(bytes.Repeat([]byte{'a'}, 100_000)) {
			t.Errorf("%d bytes of what was fsynced, %v, and %d of what was not", bytes.Count(have, []byte{'a'}), err, bytes.Count(have, []byte{'b'}))
		}
		if _, err := os.Stat(never); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file that was never fsynced: %v", err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for name, disk := range map[string]*netns.Disk{"tmpfs": netns.NewTmpfs(t, 8<<20), "ext4": netns.NewDurable(t, 32<<20)} {
		full := disk.Fill()
		if err := os.WriteFile(filepath.Join(disk.Dir, "more"), make([]byte, 8192), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v, want that no space is left", name, err)
		}
		full()
		// ext4 gives blocks back when its journal has committed their removal.
		testutil.Eventually(t, 10*time.Second, name+": a write after it", func() error {
			return os.WriteFile(filepath.Join(disk.Dir, "more"), make([]byte, 100_000), 0o600)
		})
	}
}

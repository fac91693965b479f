package logstore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	walfs "github.com/hashicorp/raft-wal/fs"
)

// What is written to a segment is there, and behind it are zeros, up to its end and
// no further, however it was written and opened again.
func TestZerosAhead(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	for name, step := range map[string]int{"small writes": 1000, "large writes": smallWrite + 1, "both": 0} {
		t.Run(name, func(t *testing.T) {
			dir, vfs := t.TempDir(), segmentFS{walfs.New()}
			file, err := vfs.Create(dir, "segment", size)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, size)
			for at, i := 0, 0; at < size; i++ {
				n := step
				if n == 0 {
					n = []int{100, 3 * smallWrite, 70}[i%3]
				}
				n = min(n, size-at)
				piece := bytes.Repeat([]byte{byte(i + 1)}, n)
				copy(want[at:], piece)
				if _, err := file.WriteAt(piece, int64(at)); err != nil {
					t.Fatal(err)
				}
				if at += n; i%7 != 0 {
					continue
				}
				if err := file.Close(); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(filepath.Join(dir, "segment")); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("after %d bytes the file is not what was written and zeros (%d bytes, %v)", at, len(got), err)
				}
				if file, err = vfs.OpenWriter(dir, "segment"); err != nil {
					t.Fatal(err)
				}
			}
			_ = file.Close()
		})
	}
}

// Where no space is reserved, none is taken ahead.
func TestNoZerosWithoutSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "segment")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	file, err := segmentFS{walfs.New()}.OpenWriter(dir, "segment")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("entry"), 0); err != nil {
		t.Fatal(err)
	}
	if got := file.(*segmentFile).ready; got != 0 {
		t.Errorf("%d bytes were made ready", got)
	}
}

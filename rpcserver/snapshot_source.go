package rpcserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// snapshotMeta is the meta.json that raft writes.
type snapshotMeta struct {
	raft.SnapshotMeta
	CRC []byte // CRC-64 of state.bin
}

var ecma = crc64.MakeTable(crc64.ECMA)

// snapshotFile is the state.bin of a snapshot, checked while it is read: raft's
// own Open reads all of it first, which a start, and a restore, has to wait for.
// The last bytes come only if the sum is right, so whoever has them has a whole
// snapshot, and whoever stores what came before, another server's raft, sees
// that some are missing.
type snapshotFile struct {
	file  *os.File
	left  int64 // bytes to come
	sum   hash.Hash64
	want  []byte
	err   error
	blame func(error) // told of damage
}

// openSnapshot opens the snapshot in a directory.
func openSnapshot(dir string, blame func(error)) (*raft.SnapshotMeta, *snapshotFile, error) {
	text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return nil, nil, err
	}
	var meta snapshotMeta
	if err := json.Unmarshal(text, &meta); err != nil {
		return nil, nil, fmt.Errorf("its meta.json cannot be read: %w", err)
	}
	file, err := os.Open(filepath.Join(dir, "state.bin"))
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != meta.Size {
		err = fmt.Errorf("its state.bin has %d bytes, and should have %d", info.Size(), meta.Size)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return &meta.SnapshotMeta, &snapshotFile{file: file, left: meta.Size, sum: crc64.New(ecma), want: meta.CRC, blame: blame}, nil
}

// Read reads on.
func (f *snapshotFile) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.file.Read(p[:min(int64(len(p)), f.left)])
	f.sum.Write(p[:n])
	f.left -= int64(n)
	switch {
	case f.left == 0 && !bytes.Equal(f.sum.Sum(nil), f.want):
		f.err = fmt.Errorf("its state.bin is damaged: the CRC-64 is %x, not %x", f.sum.Sum(nil), f.want)
	case f.left == 0:
		f.err = io.EOF
		return n, nil
	case err == io.EOF:
		f.err = fmt.Errorf("its state.bin ends %d bytes early", f.left)
	case err != nil:
		f.err = err
	default:
		return n, nil
	}
	f.blame(f.err)
	return 0, f.err
}

// Close closes the file.
func (f *snapshotFile) Close() error { return f.file.Close() }

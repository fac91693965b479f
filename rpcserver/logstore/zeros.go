package logstore

import (
	"io/fs"
	"syscall"

	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

const (
	// zerosAhead is how many bytes of a segment are made ready at a time.
	zerosAhead = 512 << 10
	// smallWrite is how many bytes a write has at most for which that is worth it:
	// in a larger one the note in the journal counts for little, and the zeros as
	// much as it does.
	smallWrite = 64 << 10
)

var zeros [zerosAhead]byte

// segmentFS is where raft-wal keeps its segments. The library reserves the space of
// a new one, which reads as zeros. But the first write to a part of it has the file
// system note that it was written, in its journal, and a sync waits for that too: a
// third of its time on ext4. So the space is written in larger pieces, with the zeros
// that are there already, before entries come to it.
type segmentFS struct{ *walfs.FS }

// Create creates a segment of a size in bytes.
func (s segmentFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return readied(s.FS.Create(dir, name, size))
}

// OpenWriter opens the segment that is written to.
func (s segmentFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	return readied(s.FS.OpenWriter(dir, name))
}

func readied(file types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return &segmentFile{WritableFile: file, end: reserved(file)}, nil
}

// reserved is how many bytes at the beginning of a file are sure to have space on
// the disk: all of it or, where space is not reserved, none.
func reserved(file types.WritableFile) int64 {
	f, ok := file.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	if disk, ok := info.Sys().(*syscall.Stat_t); !ok || disk.Blocks*512 < info.Size() {
		return 0
	}
	return info.Size()
}

// segmentFile is a segment that grows: every write is behind the one before.
type segmentFile struct {
	types.WritableFile
	end   int64 // of the space that is reserved
	ready int64 // where what was written ends, with its zeros
}

// WriteAt writes behind what is there.
func (f *segmentFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.WritableFile.WriteAt(p, at)
	behind := at + int64(n)
	if err != nil || n > smallWrite || behind <= f.ready || behind >= f.end {
		return n, err
	}
	// If this fails, so does the sync or a later write of entries.
	ahead, _ := f.WritableFile.WriteAt(zeros[:min(zerosAhead, f.end-behind)], behind)
	f.ready = behind + int64(ahead)
	return n, nil
}

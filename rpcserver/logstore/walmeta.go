package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// walMeta is raft-wal's meta store, and makes up for two defects of v0.4.0, both in
// how a segment ends. A sealed segment ends in an index, an array that says where
// each entry begins, and without one nothing of it can be read.
//
// When the end of the log is cut off within the newest segment, the library seals
// that without an index. All is well until the next start, which can read none of
// its entries ("sealed segment has no index block").
//
// When a server stops after the append that fills a segment, and before another
// goroutine has noted the next segment, the next start finds its newest segment
// sealed already, and takes no append ever again ("segment is sealed"). The same
// happens after a crash within that append.
//
// In both cases an index is written behind all else that is in the file, and
// noted. If it is there and not noted, it does no harm: where entries begin is a
// multiple of 8, and no header of a frame begins with such a number.
type walMeta struct {
	metadb.BoltMetaDB
	dir    string
	starts map[uint64]uint64 // where we put indexes, by id of the segment
}

func newWALMeta(dir string) *walMeta { return &walMeta{dir: dir, starts: map[uint64]uint64{}} }

// Load reads which segments there are, and completes a newest one that is sealed.
func (m *walMeta) Load(dir string) (types.PersistentState, error) {
	state, err := m.BoltMetaDB.Load(dir)
	if err != nil || len(state.Segments) == 0 {
		return state, err
	}
	at := len(state.Segments) - 1
	tail := &state.Segments[at]
	if !tail.SealTime.IsZero() {
		return state, nil
	}
	writer, err := segment.NewFiler(dir, walfs.New()).RecoverTail(*tail)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil // the library makes it
	}
	if err != nil {
		return state, err
	}
	sealed, _, err := writer.Sealed()
	last := writer.LastIndex()
	if err = errors.Join(err, writer.Close()); err != nil || !sealed {
		return state, err
	}
	next := types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: tail.BaseIndex, MinIndex: tail.MinIndex,
		SizeLimit: tail.SizeLimit, Codec: tail.Codec, CreateTime: time.Now(),
	}
	state.NextSegmentID++
	if last < tail.MinIndex { // nothing in it counts: the crash was in its first append
		*tail = next
		return state, m.BoltMetaDB.CommitState(state)
	}
	tail.SealTime, tail.MaxIndex = time.Now(), last
	next.BaseIndex, next.MinIndex = last+1, last+1
	state.Segments = append(state.Segments, next)
	return state, m.CommitState(state)
}

// CommitState notes which segments there are, each sealed one with its index.
func (m *walMeta) CommitState(state types.PersistentState) error {
	for i := range state.Segments {
		s := &state.Segments[i]
		if s.SealTime.IsZero() || s.IndexStart != 0 {
			continue
		}
		start, ok := m.starts[s.ID]
		if !ok {
			var err error
			if start, err = writeIndex(filepath.Join(m.dir, segment.FileName(*s)), s.BaseIndex, s.MaxIndex); err != nil {
				return fmt.Errorf("cannot seal a segment of the raft log: %w", err)
			}
			m.starts[s.ID] = start
		}
		s.IndexStart = start
	}
	return m.BoltMetaDB.CommitState(state)
}

// Frames of a segment: type u8, three bytes of nothing, length or CRC32C u32, and
// what the length says, filled up to 8 bytes.
const (
	segmentHeader = 32
	frameHeader   = 8
)

// writeIndex puts an index of the entries from one index to another, both included,
// at the end of a segment's file, and returns where.
func writeIndex(file string, first, last uint64) (start uint64, err error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var index []byte
	var header [frameHeader]byte
	for at := int64(segmentHeader); uint64(len(index)) < 4*(last-first+1); {
		if _, err := f.ReadAt(header[:], at); err != nil {
			return 0, fmt.Errorf("%s ends before entry %d: %w", file, last, err)
		}
		size := int64(binary.LittleEndian.Uint32(header[4:]))
		switch header[0] {
		case segment.FrameEntry:
			index = binary.LittleEndian.AppendUint32(index, uint32(at))
		case segment.FrameIndex:
		case segment.FrameCommit:
			size = 0
		default:
			return 0, fmt.Errorf("%s has no entry %d", file, last)
		}
		at += frameHeader + (size+7)&^7
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	start = uint64(info.Size()+7) &^ 7
	if _, err := f.WriteAt(index, int64(start)); err != nil {
		return 0, err
	}
	return start, f.Sync()
}

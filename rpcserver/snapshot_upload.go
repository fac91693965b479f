package rpcserver

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// memorySink is a snapshot in memory that may be an upload.
type memorySink struct {
	raft.SnapshotSink
	ready *readySnapshot
	taken *upload
}

func (s *memorySink) take(u *upload) error {
	s.taken = u
	return u.copyTo(s.SnapshotSink)
}

// Close finishes the snapshot.
func (s *memorySink) Close() error {
	err := s.SnapshotSink.Close()
	if err == nil && s.taken != nil {
		s.ready.put(s.ID(), s.taken.loaded)
	}
	return err
}

// takenName is what the file of an upload is called until it becomes state.bin.
const takenName = "taken"

// take has the file of the upload become the snapshot's when that is closed.
// Where the file system cannot do that, it is copied.
func (s *notedSink) take(u *upload) error {
	s.taken = u
	if err := u.early.end(); err != nil {
		return err
	}
	err := s.store.disk.write("snapshot", func() error { return u.spooled.Link(filepath.Join(s.tmp(), takenName)) })
	if s.linked = err == nil; s.linked {
		return nil
	}
	return u.copyTo(s)
}

// closeLinked is raft's Close for a snapshot whose state is in a file of ours.
// As there, the snapshot gets its name when all that is in it is on disk.
func (s *notedSink) closeLinked() error {
	final := s.store.file(s.ID(), "")
	err := s.completeLinked()
	if err == nil {
		err = os.Rename(s.tmp(), final)
	}
	if err == nil {
		err = syncDir(filepath.Dir(final))
	}
	// Raft closes its own, empty, file, and removes what has not got its name.
	err = errors.Join(err, s.SnapshotSink.Cancel())
	if err != nil {
		return errors.Join(err, os.RemoveAll(final))
	}
	if r, ok := s.store.SnapshotStore.(interface{ ReapSnapshots() error }); ok {
		return r.ReapSnapshots()
	}
	return nil
}

// completeLinked writes into meta.json what raft knows at the end.
func (s *notedSink) completeLinked() error {
	if err := os.Rename(filepath.Join(s.tmp(), takenName), filepath.Join(s.tmp(), "state.bin")); err != nil {
		return err
	}
	name := filepath.Join(s.tmp(), "meta.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var meta snapshotMeta
	if err := json.Unmarshal(text, &meta); err != nil {
		return err
	}
	meta.Size, meta.CRC = s.taken.meta.Size, s.taken.sum.Sum(nil)
	if text, err = json.Marshal(&meta); err != nil {
		return err
	}
	return writeDurable(name, append(text, '\n'))
}

package archive

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/raft"
)

// Spooled is the content of an archive in a temporary file, of which nothing is left once it is closed, not even after a
// crash where the system can do it.
type Spooled struct {
	Meta *raft.SnapshotMeta
	File *os.File // state.bin

	name string // of File; "" if it has none
}

// Spool verifies the archive in r while it unpacks state.bin into a temporary file in dir, and leaves that at its start.
// The caller closes the result.
func Spool(dir string, r io.Reader) (*Spooled, error) {
	s, err := NewSpool(dir)
	if err != nil {
		return nil, err
	}
	if err := s.Fill(r, io.Discard); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// NewSpool makes the file, for Fill.
func NewSpool(dir string) (*Spooled, error) {
	if file, err := createNameless(dir); err == nil {
		return &Spooled{File: file}, nil
	}
	file, err := os.CreateTemp(dir, "restore-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("spool snapshot: %w", err)
	}
	s := &Spooled{File: file}
	if os.Remove(file.Name()) != nil {
		s.name = file.Name()
	}
	return s, nil
}

// Fill is Spool for a file that is there. What it puts into the file it writes to also, unproven, which must take it all.
func (s *Spooled) Fill(r io.Reader, also io.Writer) (err error) {
	out := writeBehind(io.MultiWriter(s.File, also))
	s.Meta, err = Read(r, out)
	if failed := out.finish(); failed != nil && err == nil {
		err = fmt.Errorf("write snapshot state: %w", failed)
	}
	if err == nil {
		_, err = s.File.Seek(0, io.SeekStart)
	}
	return err
}

// Link gives the file a name, which stays, and syncs it; to sync the folder is the caller's. Not every system and file
// system can do that: where it fails, the file can still be copied.
func (s *Spooled) Link(name string) error {
	if err := linkNameless(s.File, name); err != nil {
		return err
	}
	if err := s.File.Sync(); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// Close closes the file and, without Link, removes it; a second Close does nothing.
func (s *Spooled) Close() error {
	err := s.File.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	if s.name != "" {
		err = errors.Join(err, os.Remove(s.name))
	}
	return err
}

package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/hashicorp/raft"
)

// Spooled is the verified content of an archive, ready to be restored.
type Spooled struct {
	Meta *raft.SnapshotMeta
	File *os.File // state.bin, positioned at its start
}

// Spool verifies the archive in r while it unpacks state.bin into a temporary file in dir. The caller closes the result.
func Spool(dir string, r io.Reader) (*Spooled, error) {
	file, err := os.CreateTemp(dir, "restore-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("spool snapshot: %w", err)
	}
	// Where the system can do it, the file loses its name at once: then even a crash leaves nothing behind.
	_ = os.Remove(file.Name())

	s := &Spooled{File: file}
	if s.Meta, err = Read(r, file); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes and removes the file; a second Close does nothing.
func (s *Spooled) Close() error {
	err := s.File.Close()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	if rm := os.Remove(s.File.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// Rewrite puts what rewrite makes of the content in its place.
func (s *Spooled) Rewrite(dir string, rewrite func(to io.Writer, from io.Reader) error) error {
	file, err := os.CreateTemp(dir, "restore-*.tmp")
	if err != nil {
		return fmt.Errorf("spool snapshot: %w", err)
	}
	_ = os.Remove(file.Name())
	next := &Spooled{Meta: new(raft.SnapshotMeta), File: file}
	*next.Meta = *s.Meta
	if _, err = s.File.Seek(0, io.SeekStart); err == nil {
		err = rewrite(file, s.File)
	}
	if err == nil {
		next.Meta.Size, err = file.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	before := *s
	*s = *next
	return before.Close()
}

package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/hashicorp/raft"
)

// Spooled is the verified content of an archive, ready to be restored.
type Spooled struct {
	Meta *raft.SnapshotMeta
	File *os.File  // state.bin, positioned at its start
	Sum  hash.Hash // SHA-256 of all that is in File
}

// Spool verifies the archive in r while it unpacks state.bin into a temporary file in dir. The caller closes the result.
// Meanwhile it writes the same bytes, unproven, to also, which must take them all.
func Spool(dir string, r io.Reader, also io.Writer) (*Spooled, error) {
	file, err := os.CreateTemp(dir, "restore-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("spool snapshot: %w", err)
	}
	// Where the system can do it, the file loses its name at once: then even a crash leaves nothing behind.
	_ = os.Remove(file.Name())

	s := &Spooled{File: file}
	if s.Meta, s.Sum, err = readSummed(r, io.MultiWriter(file, also)); err == nil {
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
	next := &Spooled{Meta: new(raft.SnapshotMeta), File: file, Sum: sha256.New()}
	*next.Meta = *s.Meta
	if _, err = s.File.Seek(0, io.SeekStart); err == nil {
		err = rewrite(io.MultiWriter(file, next.Sum), s.File)
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

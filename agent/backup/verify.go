package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// Fetch reads a backup from its target, writes the archive to w as it comes, and
// proves that it is what its record says: its sum is right, and restoring it
// gives the state that was backed up. Until Fetch has returned without an error,
// w holds unproven bytes. What speaks against the backup has code Corrupt.
func Fetch(ctx context.Context, t Target, r *structs.BackupRecord, w io.Writer) error {
	body, err := t.Get(ctx, snapPath(r.Name))
	if err != nil {
		return err
	}
	defer body.Close()
	c := &counter{r: body, sum: sha256.New()}
	stateHash, err := restoreScratch(io.TeeReader(c, w))
	switch {
	case c.err != nil:
		return c.err
	case errors.Is(err, archive.ErrCorrupt):
		return structs.Errorf(structs.Corrupt, "backup %s is damaged: %v", r.Name, err)
	case err != nil:
		return err
	case c.sumHex() != r.SHA256 || c.n != r.Size:
		return structs.Errorf(structs.Corrupt, "backup %s is not the archive that was written: %d bytes with SHA-256 %s, not %d with %s",
			r.Name, c.n, c.sumHex(), r.Size, r.SHA256)
	case stateHash != r.StateHash:
		return structs.Errorf(structs.Corrupt, "backup %s restores to a state with hash %s, not %s", r.Name, stateHash, r.StateHash)
	}
	return nil
}

// restoreScratch restores an archive into a store of its own and returns the
// hash of the state.
func restoreScratch(r io.Reader) (hash string, err error) {
	_, err = archive.Decode(r, func(state io.Reader) error {
		l, err := fsm.Load(state)
		if err != nil {
			return err
		}
		view := l.View()
		sum := view.Hash()
		hash = hex.EncodeToString(sum[:])
		return nil
	})
	return hash, err
}

// counter counts and sums what is read through it, and remembers why reading
// failed.
type counter struct {
	r   io.Reader
	n   int64
	sum hash.Hash
	err error
}

// Read reads.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func (c *counter) sumHex() string { return hex.EncodeToString(c.sum.Sum(nil)) }

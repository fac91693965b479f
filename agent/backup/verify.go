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
// hash of the state. What is wrong with the archive is told before what is wrong
// with the state, which may be the consequence.
func restoreScratch(r io.Reader) (string, error) {
	state, w := io.Pipe()
	type result struct {
		hash string
		err  error
	}
	loaded := make(chan result, 1)
	go func() {
		l, err := fsm.Load(state)
		_, _ = io.Copy(io.Discard, state) // the archive's own checks go on
		if err != nil {
			loaded <- result{err: err}
			return
		}
		view := l.View()
		sum := view.Hash()
		loaded <- result{hash: hex.EncodeToString(sum[:])}
	}()
	_, err := archive.Read(r, w)
	_ = w.CloseWithError(err)
	l := <-loaded
	if err != nil {
		return "", err
	}
	return l.hash, l.err
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

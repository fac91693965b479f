package chaos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A loss of power leaves on disk what was synced, and of the rest any part. An
// image is a copy of a data directory as it may be found afterwards. It is taken
// when the network is dead already, so that nothing can be acknowledged that is
// not in it, and put in the place of the directory when the process is.

// unsynced are the files that nobody syncs, because nothing depends on them.
var unsynced = []string{"serf/local.snapshot", "raft/peers.info", "raft/snapshots/*/*.new*"}

// image copies a data directory to a new one beside it and returns its name.
// Files of the copy that are in instead are as that says.
func image(r *rand.Rand, dir string, instead map[string][]byte) (string, error) {
	to := dir + ".image"
	if err := os.RemoveAll(to); err != nil {
		return "", err
	}
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		return "", err
	}
	for name, content := range instead {
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			return "", err
		}
	}
	if err := loseHint(r, filepath.Join(to, "raft", "record")); err != nil {
		return "", err
	}
	for _, pattern := range append([]string{"raft/snapshots/*.tmp/*"}, unsynced...) {
		found, err := filepath.Glob(filepath.Join(to, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range found {
			if err := lose(r, file); err != nil {
				return "", err
			}
		}
	}
	return to, nil
}

// loseHint takes away, at times, what the record of the log has that is not
// synced: its third page.
func loseHint(r *rand.Rand, file string) error {
	if r.IntN(2) == 0 {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 4096), 2*4096)
	return errors.Join(err, f.Close())
}

// lose makes of a file that was not synced what may be left of it.
func lose(r *rand.Rand, file string) error {
	switch r.IntN(4) {
	case 0:
		return os.Remove(file)
	case 1:
		return os.Truncate(file, 0)
	case 2:
		info, err := os.Stat(file)
		if err != nil || info.Size() == 0 {
			return err
		}
		return os.Truncate(file, r.Int64N(info.Size()))
	}
	return nil
}

// torn is a bbolt file as a loss of power in the middle of a transaction may
// leave it: bbolt writes the pages of the transaction, syncs, writes one of the
// two meta pages, syncs. So either any part of the pages has been written and
// the meta page is old, or all have and it is old, new or half written.
func torn(r *rand.Rand, before, after []byte) []byte {
	const magicAt, magic = 16, 0xED0CDAED
	if len(before) < 4096 || binary.NativeEndian.Uint32(before[magicAt:]) != magic {
		return before // not bbolt's: as if nothing had been written
	}
	page := int(binary.NativeEndian.Uint32(before[magicAt+8:]))
	if r.IntN(2) == 0 {
		before = append(bytes.Clone(before), make([]byte, max(0, len(after)-len(before)))...) // it grows first
	}
	result := bytes.Clone(before)
	metaToo := r.IntN(2) == 0
	for at := 0; at+page <= min(len(result), len(after)); at += page {
		switch meta := at < 2*page; {
		case meta && metaToo && len(result) >= len(after):
			n := pick(r, 0, page, r.IntN(page)/512*512) // a disk writes sectors whole
			copy(result[at:at+n], after[at:at+n])
		case !meta && (metaToo || r.IntN(2) == 0):
			copy(result[at:at+page], after[at:at+page])
		}
	}
	return result
}

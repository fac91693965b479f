// Package archive owns the .snap file: a snapshot of the whole state as one file that an operator can keep,
// inspect and restore. Consul's files are read, and ours are, but for the time in it, the same tar as Consul's.
//
//	gzip( tar(
//	    meta.json     raft.SnapshotMeta as one line of JSON; Size is the size of state.bin
//	    state.bin     the snapshot stream; this package does not look inside
//	    SHA256SUMS    one line for each of the two: lower-case hex, two spaces, name
//	) )
//
// The members are regular files of mode 0600, written in this order and read in any.
//
// Reading promises: without an error, the sums, the sizes, the gzip checksum and the end of the file have all been
// checked, in memory that does not grow with the file. What was written to the caller's state before that is unproven.
// An error that is [ErrCorrupt] speaks about the file; any other is a failure to read or write.
package archive

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

const (
	metaName  = "meta.json"
	stateName = "state.bin"
	sumsName  = "SHA256SUMS"
)

// ErrCorrupt says that the file is damaged, incomplete or no snapshot at all: reading it again will not help.
// Errors that are ErrCorrupt read as the sentence that says what is wrong, not as this one.
var ErrCorrupt = errors.New("not a sound snapshot archive")

// corruptError is ErrCorrupt for errors.Is, in the words of the error it holds.
type corruptError struct{ error }

func (e corruptError) Is(target error) bool { return target == ErrCorrupt }
func (e corruptError) Unwrap() error        { return e.error }

// checkMeta holds for both directions, so that nothing is saved which could not be restored.
func checkMeta(m *raft.SnapshotMeta) error {
	if m.Version < raft.SnapshotVersionMin || m.Version > raft.SnapshotVersionMax {
		return fmt.Errorf("unsupported snapshot version %d", m.Version)
	}
	if m.Index == 0 { // raft takes no snapshot before its first entry: this is some other JSON
		return errors.New("snapshot metadata has no raft index")
	}
	if m.Size < 0 {
		return fmt.Errorf("snapshot metadata has a negative size (%d)", m.Size)
	}
	return nil
}

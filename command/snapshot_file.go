package command

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// snapshotFile is a snapshot as the offline verbs read it, as often as they
// want: what is read comes as a stream.
type snapshotFile struct {
	*verb
	path           string
	skipEnterprise bool
	dropped        structs.Dropped // by the last reading
}

// skipEnterprise adds the flag of that name.
func skipEnterprise(fs *flag.FlagSet) *bool {
	return fs.Bool("skip-enterprise", false, "Leave out the records of Consul Enterprise, and say how many there are, instead of refusing the snapshot.")
}

// openSnapshot opens nothing yet, but refuses what cannot be a snapshot.
func (v *verb) openSnapshot(path string, skipEnterprise bool) (*snapshotFile, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return nil, errDirectory(path)
		}
	}
	return &snapshotFile{verb: v, path: path, skipEnterprise: skipEnterprise}, nil
}

func errDirectory(path string) error {
	return failf("Error! %s is a directory: a snapshot is one file, such as backup.snap, or state.bin in a directory of raft/snapshots", path)
}

// stream hands over the file's state as it comes. When it returns no error, the
// sums have been checked.
func (f *snapshotFile) stream(use func(state io.Reader) error) (*raft.SnapshotMeta, error) {
	if f.path == "-" {
		return archive.Decode(f.stdin, use)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if filepath.Base(f.path) != "state.bin" {
		return archive.Decode(file, use)
	}
	meta, err := f.neighbour()
	if err != nil {
		return nil, err
	}
	return meta, use(file)
}

// neighbour is the meta.json next to a server's state.bin.
func (f *snapshotFile) neighbour() (*raft.SnapshotMeta, error) {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(f.path), "meta.json"))
	if err != nil {
		return nil, err
	}
	meta := new(raft.SnapshotMeta)
	if err := json.Unmarshal(data, meta); err != nil {
		return nil, fmt.Errorf("meta.json next to it: %w", err)
	}
	return meta, nil
}

// records hands over the records that are to be kept. A record of Enterprise is
// an error, unless they are skipped.
func (f *snapshotFile) records(use func(fsm.Record) error) (*raft.SnapshotMeta, error) {
	f.dropped = structs.Dropped{}
	return f.stream(func(state io.Reader) error {
		_, sequence := fsm.Records(state)
		for rec, err := range sequence {
			switch {
			case err != nil:
				return err
			case rec.Kind.Enterprise() && f.skipEnterprise:
				f.dropped[rec.Kind]++
				continue
			case rec.Kind.Enterprise():
				return fsm.ErrEnterprise(rec.Kind)
			}
			if err := use(rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// rows hands over what is in the file, thing by thing.
func (f *snapshotFile) rows(use func(fsm.Row) error) (*raft.SnapshotMeta, error) {
	var rows fsm.Rows
	return f.records(func(rec fsm.Record) error { return rows.Of(rec, use) })
}

// tellDropped says on stderr what was left out.
func (s *shell) tellDropped(path string, dropped structs.Dropped) {
	if len(dropped) > 0 {
		fmt.Fprintf(s.stderr, "Left out of %s, as Consul Enterprise's: %v\n", path, dropped)
	}
}

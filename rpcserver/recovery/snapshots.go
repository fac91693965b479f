package recovery

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/structs"
)

// Snapshot is one of raft's own snapshots in a data directory.
type Snapshot struct {
	ID          string
	Index, Term uint64
	Size        int64

	servers     []Server
	serversFrom uint64
	cluster     string
}

// readSnapshots reads and checks all snapshots, newest first as raft takes them.
// Of those that are damaged it says so, and up to which index they reached.
func readSnapshots(raftDir string) (good []Snapshot, damage []string, reached uint64, err error) {
	dirs, err := os.ReadDir(filepath.Join(raftDir, "snapshots"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, nil
	}
	if err != nil {
		return nil, nil, 0, err
	}
	for _, d := range dirs {
		if !d.IsDir() || strings.HasSuffix(d.Name(), ".tmp") { // a server stopped while it wrote this
			continue
		}
		snapshot, err := readSnapshot(filepath.Join(raftDir, "snapshots", d.Name()))
		if err != nil {
			damage = append(damage, fmt.Sprintf("snapshot %s is damaged: %v", d.Name(), err))
			var term, index uint64
			if n, _ := fmt.Sscanf(d.Name(), "%d-%d-", &term, &index); n == 2 {
				reached = max(reached, index)
			}
			continue
		}
		good = append(good, snapshot)
	}
	slices.SortFunc(good, func(a, b Snapshot) int {
		return -cmp.Or(cmp.Compare(a.Term, b.Term), cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID))
	})
	return good, damage, reached, nil
}

// readSnapshot reads meta.json, and state.bin to its end.
func readSnapshot(dir string) (s Snapshot, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return s, err
	}
	var meta struct {
		raft.SnapshotMeta
		CRC []byte
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return s, fmt.Errorf("meta.json: %w", err)
	}
	s = Snapshot{ID: meta.ID, Index: meta.Index, Term: meta.Term, Size: meta.Size,
		servers: serversOf(meta.Configuration), serversFrom: meta.ConfigurationIndex}
	file, err := os.Open(filepath.Join(dir, "state.bin"))
	if err != nil {
		return s, err
	}
	defer file.Close()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	_, records := fsm.Records(io.TeeReader(file, sum))
	for record, err := range records {
		if err != nil {
			return s, err
		}
		if record.Kind == structs.SystemMetadataRequestType {
			var entry structs.MetadataEntry
			if err := structs.DecodeValue(record.Value, &entry); err != nil {
				return s, err
			}
			if entry.Key == structs.ClusterIDKey {
				s.cluster = entry.Value
			}
		}
	}
	if !bytes.Equal(sum.Sum(nil), meta.CRC) {
		return s, errors.New("its checksum is wrong")
	}
	return s, nil
}

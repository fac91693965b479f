package rpcserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/rpcserver/logstore"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// indexedSnapshots is a snapshot store whose sources say which index they were
// taken at. Raft does not tell the FSM, which must know where its history begins.
//
// On disk it also sees damage that raft's own does not: raft keeps a checksum of
// the state in meta.json, but none of meta.json, where one digit of the index
// makes it another snapshot. Beside it stands its CRC32C in meta.sum, with the id
// of the server mixed in, so that a snapshot of another server is not taken.
type indexedSnapshots struct {
	raft.SnapshotStore
	dir   string // "" in memory
	owner string
	log   *logstore.Store // told of each snapshot; nil in memory
	disk  Raft

	ready *readySnapshot

	mu  sync.Mutex        // guards bad
	bad map[string]string // what is wrong with which snapshot
}

// List returns the snapshots that are sound as far as can be told without
// reading them, newest first.
func (s *indexedSnapshots) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.SnapshotStore.List()
	if err != nil || s.dir == "" {
		return all, err
	}
	return slices.DeleteFunc(all, func(meta *raft.SnapshotMeta) bool {
		err := s.checkMeta(meta)
		if err != nil {
			s.blame(meta.ID, err)
		}
		return err != nil
	}), nil
}

func (s *indexedSnapshots) checkMeta(meta *raft.SnapshotMeta) error {
	if !strings.HasPrefix(meta.ID, fmt.Sprintf("%d-%d-", meta.Term, meta.Index)) {
		return fmt.Errorf("its meta.json says index %d of term %d", meta.Index, meta.Term)
	}
	want, err := os.ReadFile(s.file(meta.ID, "meta.sum"))
	if os.IsNotExist(err) {
		return nil // from before there were such
	}
	if err != nil {
		return err
	}
	got, err := s.sum(meta.ID)
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("its meta.json is not what was written, or of another server")
	}
	return nil
}

func (s *indexedSnapshots) file(id, name string) string {
	return filepath.Join(s.dir, "snapshots", id, name)
}

func (s *indexedSnapshots) sum(id string) ([]byte, error) {
	text, err := os.ReadFile(s.file(id, "meta.json"))
	if err != nil {
		return nil, err
	}
	sum := crc32.Checksum(append([]byte(s.owner), text...), castagnoli)
	return fmt.Appendf(nil, "%x\n", binary.BigEndian.AppendUint32(nil, sum)), nil
}

func (s *indexedSnapshots) blame(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad == nil {
		s.bad = map[string]string{}
	}
	s.bad[id] = err.Error()
}

// Open opens a snapshot. On disk, its state is checked while it is read.
func (s *indexedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, source, err := s.open(id)
	if err != nil {
		s.blame(id, err)
		return nil, nil, err
	}
	return meta, &indexedSource{source, meta, s}, nil
}

func (s *indexedSnapshots) open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if s.dir == "" {
		return s.SnapshotStore.Open(id)
	}
	return openSnapshot(s.file(id, ""), func(err error) { s.blame(id, err) })
}

// indexedSource is the fsm.Source of a snapshot.
type indexedSource struct {
	io.ReadCloser
	meta  *raft.SnapshotMeta
	store *indexedSnapshots
}

// Position is the raft index and term at which the snapshot was taken.
func (s *indexedSource) Position() (index, term uint64) { return s.meta.Index, s.meta.Term }

// Ready is the store that a restore has filled with this snapshot, once.
func (s *indexedSource) Ready() *fsm.Loaded { return s.store.ready.take(s.meta.ID) }

// outdated returns an error if a snapshot has been overtaken. Raft 1.7.3 takes
// snapshots beside everything else and calls the one that was finished last its
// newest. One that began before a restore, and ends after it, would make a leader
// forget where its log begins: it could send no entry any more to anybody, and
// would send the snapshot of the restore instead, without a pause and for ever.
func (s *indexedSnapshots) outdated(index, term uint64) error {
	list, err := s.List()
	if err != nil || len(list) == 0 || list[0].Term < term || list[0].Index <= index {
		return err
	}
	return fmt.Errorf("a newer one is there: a restore or the leader brought it meanwhile (this one is of index %d, that of %d)", index, list[0].Index)
}

// Create begins a snapshot.
func (s *indexedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if err := s.outdated(index, term); err != nil {
		return nil, err
	}
	sink, err := s.SnapshotStore.Create(version, index, term, c, configIndex, trans)
	if err != nil {
		return nil, err
	}
	if s.dir == "" {
		return &memorySink{SnapshotSink: sink, ready: s.ready}, nil
	}
	noted := &notedSink{SnapshotSink: sink, store: s, index: index, term: term, configuration: c}
	noted.early.sync = func() error { return syncFile(filepath.Join(noted.tmp(), "state.bin")) }
	return noted, nil
}

// notedSink makes it known when a snapshot is on disk.
type notedSink struct {
	raft.SnapshotSink
	store         *indexedSnapshots
	index, term   uint64
	configuration raft.Configuration
	early         earlySync
	taken         *upload // what it holds, if it is one
	linked        bool    // and its file is there under takenName
}

// tmp is the directory of the snapshot until it is whole.
func (s *notedSink) tmp() string { return s.store.file(s.ID()+".tmp", "") }

// Write writes to the snapshot.
func (s *notedSink) Write(p []byte) (n int, err error) {
	err = s.store.disk.write("snapshot", func() error {
		n, err = s.SnapshotSink.Write(p)
		return err
	})
	s.early.wrote(n)
	return n, err
}

// Cancel gives the snapshot up.
func (s *notedSink) Cancel() error {
	_ = s.early.end()
	return s.SnapshotSink.Cancel()
}

// Close finishes the snapshot.
func (s *notedSink) Close() error {
	return s.store.disk.write("snapshot", s.close)
}

func (s *notedSink) close() error {
	if err := s.store.outdated(s.index, s.term); err != nil {
		return errors.Join(err, s.Cancel())
	}
	if err := s.finish(); err != nil {
		return err
	}
	sum, err := s.store.sum(s.ID())
	if err != nil {
		return err
	}
	if err := writeDurable(s.store.file(s.ID(), "meta.sum"), sum); err != nil {
		return err
	}
	if s.taken != nil {
		s.store.ready.put(s.ID(), s.taken.loaded)
	}
	if s.store.log == nil {
		return nil
	}
	return s.store.log.NoteSnapshot(s.index, s.configuration)
}

func (s *notedSink) finish() error {
	if s.linked {
		return s.closeLinked()
	}
	_ = s.early.end() // raft's sync has the error too
	return s.SnapshotSink.Close()
}

// damagedDirs are the directories of snapshots that are damaged, those among
// them that raft passes over in silence, and what is wrong with each.
func (s *indexedSnapshots) damagedDirs() map[string]string {
	found := map[string]string{}
	if s.dir == "" {
		return found
	}
	sound, _ := s.List()
	entries, _ := os.ReadDir(filepath.Join(s.dir, "snapshots"))
	s.mu.Lock()
	defer s.mu.Unlock()
	sound = slices.DeleteFunc(sound, func(m *raft.SnapshotMeta) bool { return s.bad[m.ID] != "" })
	for _, e := range entries {
		name := e.Name()
		switch why, known := s.bad[name]; {
		case !e.IsDir() || strings.HasSuffix(name, ".tmp"):
		case known:
			found[name] = why
		// More are there than raft keeps only for a moment.
		case len(sound) < snapshotsRetained && !slices.ContainsFunc(sound, func(m *raft.SnapshotMeta) bool { return m.ID == name }):
			found[name] = "its meta.json cannot be read"
		}
	}
	return found
}

// trouble is damagedDirs for people.
func (s *indexedSnapshots) trouble() (texts []string) {
	found := s.damagedDirs()
	for _, name := range slices.Sorted(maps.Keys(found)) {
		texts = append(texts, fmt.Sprintf("snapshot %s: %s", filepath.Join(s.dir, "snapshots", name), found[name]))
	}
	return texts
}

// distrust moves all snapshots but the newest aside: they may be of a state that
// was wrong.
func (s *indexedSnapshots) distrust(why error) error {
	list, err := s.List()
	if err != nil || s.dir == "" || len(list) == 0 {
		return err
	}
	for _, meta := range list[1:] {
		s.blame(meta.ID, why)
	}
	return s.moveAside()
}

// moveAside takes the damaged snapshots out of the way, so that raft neither
// counts nor sends them.
func (s *indexedSnapshots) moveAside() error {
	to := filepath.Join(s.dir, "damaged")
	for name := range s.damagedDirs() {
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		aside := filepath.Join(to, fmt.Sprintf("%s-%d", name, time.Now().UnixNano()))
		if err := os.Rename(s.file(name, ""), aside); err != nil {
			return fmt.Errorf("cannot move a damaged snapshot away: %w", err)
		}
	}
	return nil
}

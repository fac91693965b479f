package journal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-raftchunking/types"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"praetor/agent/backup"
	"praetor/agent/backup/journal"
	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// errAway is what a target says that cannot be reached.
var errAway = errors.New("the target is away")

// memory is a target in memory.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	times   map[string]time.Time
	away    bool
}

func newMemory() *memory {
	return &memory{objects: map[string][]byte{}, times: map[string]time.Time{}}
}

func (m *memory) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *memory) Put(_ context.Context, name string, r io.Reader) error {
	b, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return errAway
	}
	if err == nil {
		m.objects[name], m.times[name] = b, time.Now()
	}
	return err
}

func (m *memory) Get(_ context.Context, name string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return nil, errAway
	}
	b, ok := m.objects[name]
	if !ok {
		return nil, structs.Errorf(structs.NotFound, "there is no %s", name)
	}
	return io.NopCloser(bytes.NewReader(bytes.Clone(b))), nil
}

func (m *memory) List(_ context.Context, prefix string) ([]backup.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return nil, errAway
	}
	var list []backup.Object
	for name, b := range m.objects {
		if strings.HasPrefix(name, prefix) {
			list = append(list, backup.Object{Name: name, Size: int64(len(b)), Time: m.times[name]})
		}
	}
	slices.SortFunc(list, func(a, b backup.Object) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// names are those of the objects under a prefix.
func (m *memory) names(prefix string) (names []string) {
	list, _ := m.List(context.Background(), prefix)
	for _, o := range list {
		names = append(names, o.Name)
	}
	return names
}

// failer is a test, of rapid or not.
type failer interface {
	Helper()
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// history is what one cluster has been through: a raft log, and the hash that
// the state had after each entry.
type history struct {
	t       failer
	cluster string
	log     map[uint64]*raft.Log
	last    uint64
	term    uint64
	ops     uint64
	now     time.Time
	machine *fsm.FSM
	hashes  map[uint64][sha256.Size]byte
}

func newHistory(t failer) *history {
	return &history{
		t: t, log: map[uint64]*raft.Log{}, term: 1, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		machine: fsm.New(), hashes: map[uint64][sha256.Size]byte{},
	}
}

// append puts an entry of any kind into the log and applies it.
func (h *history) append(log raft.Log) uint64 {
	h.last++
	h.now = h.now.Add(time.Second)
	log.Index, log.Term, log.AppendedAt = h.last, h.term, h.now
	h.log[h.last] = &log
	h.machine.ApplyBatch([]*raft.Log{&log})
	view := h.machine.View()
	h.hashes[h.last] = view.Hash()
	return h.last
}

// write writes a command in so many parts; it returns the index of the last.
func (h *history) write(parts int, c structs.Command) uint64 {
	h.t.Helper()
	data, err := structs.EncodeCommand(c)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	if parts == 1 {
		return h.append(raft.Log{Data: data})
	}
	h.ops++
	size := (len(data) + parts - 1) / parts
	parts = (len(data) + size - 1) / size
	for i := range parts {
		mark, err := proto.Marshal(&types.ChunkInfo{OpNum: h.ops, SequenceNum: uint32(i), NumChunks: uint32(parts)})
		if err != nil {
			h.t.Fatalf("%v", err)
		}
		h.append(raft.Log{Data: data[i*size : min((i+1)*size, len(data))], Extensions: mark})
	}
	return h.last
}

func (h *history) set(key, value string) uint64 {
	return h.write(1, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: key, Value: []byte(value)}})
}

func (h *history) kv(op structs.KVOp, key string) uint64 {
	return h.write(1, &structs.KVSRequest{Op: op, DirEnt: structs.DirEntry{Key: key}})
}

// snapshot is a snapshot archive of the state as it is.
func (h *history) snapshot() []byte {
	h.t.Helper()
	s, err := h.machine.Snapshot()
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	var state sink
	if err := s.Persist(&state); err != nil {
		h.t.Fatalf("%v", err)
	}
	var out bytes.Buffer
	meta := &raft.SnapshotMeta{Version: 1, ID: "1", Index: h.last, Term: h.term, Size: int64(state.Len())}
	if err := archive.Write(&out, meta, &state); err != nil {
		h.t.Fatalf("%v", err)
	}
	return out.Bytes()
}

// backup puts a backup into the target, as package backup does, begun now.
func (h *history) backup(target *memory) error { return h.backupOf(target, h.now) }

func (h *history) backupOf(target *memory, begun time.Time) error {
	h.t.Helper()
	snap := h.snapshot()
	var state bytes.Buffer
	if _, err := archive.Read(bytes.NewReader(snap), &state); err != nil {
		h.t.Fatalf("%v", err)
	}
	r := structs.BackupRecord{
		Name: fmt.Sprintf("%020d-%d", h.last, begun.UnixMilli()), Index: h.last, Time: begun, Size: int64(len(snap)), Verified: true,
		ClusterID: h.cluster, SHA256: fmt.Sprintf("%x", sha256.Sum256(snap)), StateHash: fmt.Sprintf("%x", sha256.Sum256(state.Bytes())),
	}
	record, err := json.Marshal(&r)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return errors.Join(
		target.Put(context.Background(), "snap/"+r.Name+".snap", bytes.NewReader(snap)),
		target.Put(context.Background(), "snap/"+r.Name+".json", bytes.NewReader(record)),
	)
}

// restore replaces the state by that of an archive, as raft does: the log gets a
// hole, and goes on behind it.
func (h *history) restore(snap []byte) {
	h.t.Helper()
	var state bytes.Buffer
	meta, err := archive.Read(bytes.NewReader(snap), &state)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	h.last = max(h.last, meta.Index) + 1
	if err := h.machine.Restore(io.NopCloser(&state)); err != nil {
		h.t.Fatalf("%v", err)
	}
	view := h.machine.View()
	h.hashes[h.last] = view.Hash()
	h.append(raft.Log{Type: raft.LogNoop})
}

// compact forgets entries up to index.
func (h *history) compact(index uint64) {
	for i := range h.log {
		if i <= index {
			delete(h.log, i)
		}
	}
}

type sink struct{ bytes.Buffer }

func (*sink) ID() string    { return "" }
func (*sink) Cancel() error { return nil }
func (*sink) Close() error  { return nil }

// A history is a journal.Source: of the server that leads.

func (h *history) IsLeader() bool { return true }

func (h *history) ClusterID() string { return h.cluster }

func (h *history) Committed() (first, last uint64, err error) {
	first = h.last + 1
	for i := range h.log {
		first = min(first, i)
	}
	return first, h.last, nil
}

func (h *history) Entry(index uint64) (*raft.Log, error) {
	if log, ok := h.log[index]; ok {
		return log, nil
	}
	return nil, structs.Errorf(structs.NotFound, "entry %d is not there", index)
}

func (h *history) LogChain() (string, uint64) {
	if e := h.machine.Store().Read().MetadataEntry(structs.LogChainKey); e != nil {
		return e.Value, e.ModifyIndex
	}
	return "", 0
}

func (h *history) StartLogChain(id string) error {
	h.write(1, &structs.MetadataRequest{Op: structs.MetadataUpsert, Entry: &structs.MetadataEntry{Key: structs.LogChainKey, Value: id}})
	return nil
}

// archiver is one for the history, as a new leader has it.
func (h *history) archiver(target *memory, segment int) *journal.Archiver {
	return journal.New(journal.Config{
		Source: h, Target: target, Lag: 5 * time.Second, SegmentSize: segment,
		Backup: func(context.Context) error { return h.backup(target) },
	})
}

// rebuild builds a state, reads the archive that comes of it back, and returns
// the hash of what that holds.
func rebuild(target backup.Target, p journal.Point) (*journal.Result, *fsm.Loaded, error) {
	var out bytes.Buffer
	result, err := journal.Rebuild(context.Background(), target, p, "", &out)
	if err != nil {
		return nil, nil, err
	}
	var state bytes.Buffer
	meta, err := archive.Read(&out, &state)
	if err != nil {
		return nil, nil, err
	}
	if meta.Index != result.Index {
		return nil, nil, fmt.Errorf("the archive is of index %d, the result of %d", meta.Index, result.Index)
	}
	loaded, err := fsm.Load(&state)
	return result, loaded, err
}

package recovery_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	raftchunking "github.com/hashicorp/go-raftchunking"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"

	"praetor/fsm"
	"praetor/rpcserver/logstore"
	"praetor/rpcserver/recovery"
	"praetor/structs"
)

// entries are a log of every kind of entry.
func entries(t *testing.T) []*raft.Log {
	t.Helper()
	configuration := raft.Configuration{Servers: []raft.Server{
		{ID: "one", Address: "10.0.0.1:8300"}, {ID: "two", Address: "10.0.0.2:8300", Suffrage: raft.Nonvoter},
	}}
	logs := []*raft.Log{
		{Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration)},
		{Type: raft.LogNoop},
		{Type: raft.LogBarrier},
	}
	command := func(c structs.Command) []byte {
		data, err := structs.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, c := range []structs.Command{
		&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "app/a", Value: []byte("secret"), TTL: time.Minute}},
		&structs.KVSRequest{Op: structs.KVDeleteTree, DirEnt: structs.DirEntry{Key: "app/"}},
		&structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: "s1", Node: "n1", Name: "lock"}},
		&structs.RegisterRequest{Node: "n1", Service: &structs.NodeService{ID: "web1", Service: "web"}, Check: &structs.HealthCheck{}},
		&structs.DeregisterRequest{Node: "n1", ServiceID: "web1"},
		&structs.TxnRequest{Ops: []structs.TxnOp{{KV: &structs.TxnKVOp{Verb: structs.KVCAS, DirEnt: structs.DirEntry{Key: "k"}}}, {Session: &structs.TxnSessionOp{Verb: "delete", Session: structs.Session{ID: "s1"}}}}},
		&structs.TombstoneRequest{Op: structs.TombstoneReap, ReapIndex: 7},
		&structs.MetadataRequest{Op: structs.MetadataUpsert, Entry: &structs.MetadataEntry{Key: structs.ClusterIDKey, Value: "c1"}},
		&structs.AutopilotRequest{},
	} {
		logs = append(logs, &raft.Log{Type: raft.LogCommand, Data: command(c)})
	}
	large := command(&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "large", Value: make([]byte, 3*raft.SuggestedMaxDataSize)}})
	raftchunking.ChunkingApply(large, nil, 0, func(l raft.Log, _ time.Duration) raft.ApplyFuture {
		logs = append(logs, &raft.Log{Type: raft.LogCommand, Data: l.Data, Extensions: l.Extensions})
		return done{}
	})
	logs = append(logs, &raft.Log{Type: raft.LogCommand, Data: []byte{200, 0x80}}, &raft.Log{Type: raft.LogCommand, Data: []byte{2, 0xc1}}, &raft.Log{Type: raft.LogCommand})
	for i, l := range logs {
		l.Index, l.Term, l.AppendedAt = uint64(i+1), 3, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	return logs
}

// done is the future of an entry that went somewhere.
type done struct{}

func (done) Error() error  { return nil }
func (done) Response() any { return nil }
func (done) Index() uint64 { return 0 }

type store interface {
	raft.LogStore
	raft.StableStore
}

// dataDir writes the entries into a data directory with one of the backends.
func dataDir(t *testing.T, backend string, logs []*raft.Log) string {
	t.Helper()
	dir := t.TempDir()
	raftDir := filepath.Join(dir, "raft")
	if err := os.MkdirAll(filepath.Join(raftDir, "snapshots"), 0o700); err != nil {
		t.Fatal(err)
	}
	var s store
	var shut func() error
	if backend == "wal" {
		walDir := filepath.Join(raftDir, "wal")
		if err := os.Mkdir(walDir, 0o700); err != nil {
			t.Fatal(err)
		}
		meta := &closableMeta{}
		w, err := wal.Open(walDir, wal.WithSegmentSize(64<<10), wal.WithMetaStore(meta))
		if err != nil {
			t.Fatal(err)
		}
		s, shut = w, func() error { w.Close(); return meta.Close() }
	} else {
		b, err := raftboltdb.NewBoltStore(filepath.Join(raftDir, "raft.db"))
		if err != nil {
			t.Fatal(err)
		}
		s, shut = b, b.Close
	}
	for _, l := range logs {
		if err := s.StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetUint64([]byte("CurrentTerm"), 4); err != nil {
		t.Fatal(err)
	}
	if err := shut(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"node-id": "one\n", "praetor.lock": "1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sums are the contents of every file below a directory.
func sums(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		info, _ := d.Info()
		fmt.Fprintf(&b, "%s %x %v\n", path, sha256.Sum256(data), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func describe(t *testing.T, dir string, from, to uint64) (list []recovery.Entry) {
	t.Helper()
	log, unlock, err := recovery.OpenLocked(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	return slices.Collect(log.Describe(from, to))
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	logs := entries(t)
	for _, backend := range []string{"boltdb", "wal"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t, backend, logs)
			before := sums(t, dir)
			got := describe(t, dir, 0, 1<<63)
			if len(got) != len(logs) {
				t.Fatalf("%d entries, want %d", len(got), len(logs))
			}
			for i, want := range []struct{ kind, command, op, what string }{
				{"configuration", "", "", "one at 10.0.0.1:8300, two at 10.0.0.2:8300 (no vote)"},
				{"noop", "", "", ""},
				{"barrier", "", "", ""},
				{"command", "KVS", "set", "key app/a, value of 6 bytes, TTL 1m0s"},
				{"command", "KVS", "delete-tree", "key app/"},
				{"command", "Session", "create", "session s1, name lock, node n1"},
				{"command", "Register", "register", "node n1, service web, id web1, checks: 1"},
				{"command", "Deregister", "deregister", "node n1, service web1"},
				{"command", "Txn", "2 operations", "cas key k; delete session s1"},
				{"command", "Tombstone", "reap", "tombstones up to index 7"},
				{"command", "SystemMetadata", "upsert", structs.ClusterIDKey + " = c1"},
				{"command", "Autopilot", "set", "autopilot configuration"},
			} {
				e := got[i]
				if e.Type != want.kind || e.Command != want.command || e.Op != want.op || e.What != want.what || e.Damage != "" {
					t.Errorf("entry %d: got %+v, want %+v", i+1, e, want)
				}
				if e.Index != uint64(i+1) || e.Term != 3 || e.Time == nil || e.Size != len(logs[i].Data)+len(logs[i].Extensions) {
					t.Errorf("entry %d: %+v", i+1, e)
				}
			}
			parts := got[12 : len(got)-3]
			for i, e := range parts {
				last := i == len(parts)-1
				if e.Chunk == nil || int(e.Chunk.Number) != i+1 || int(e.Chunk.Total) != len(parts) || (e.Chunk.Whole > 3*raft.SuggestedMaxDataSize) != last || (e.Command == "KVS") != last {
					t.Errorf("part %d of %d: %+v, %+v", i+1, len(parts), e, e.Chunk)
				}
			}
			rest := got[len(got)-3:]
			if rest[0].Command != "Unknown(72)" || rest[0].Damage != "" || rest[1].Damage == "" || rest[2].Damage == "" {
				t.Errorf("of a type unknown, damaged, empty: %+v", rest)
			}
			if some := describe(t, dir, 4, 5); len(some) != 2 || some[0].Index != 4 || some[1].Index != 5 {
				t.Errorf("entries 4 to 5: %+v", some)
			}
			if some := describe(t, dir, 1000, 2000); len(some) != 0 {
				t.Errorf("entries after the end: %+v", some)
			}
			s, err := recovery.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.LastIndex != uint64(len(logs)) || s.LastTerm != 3 || s.Term != 4 || s.Cluster != "c1" || len(s.Servers) != 2 || !s.Fit || !s.LastTime.Equal(logs[0].AppendedAt) {
				t.Errorf("got %+v", s)
			}
			if after := sums(t, dir); after != before {
				t.Errorf("reading has changed the directory:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// change changes a raft.db.
func change(t *testing.T, dir string, f func(logs *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "raft", "raft.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket([]byte("logs"))) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func key(index byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, index} }

// Damaged entries are shown as such, those around them as ever, and the server
// counts as far as it can be played back.
func TestDamagedEntries(t *testing.T) {
	t.Parallel()
	some := entries(t)[:12]
	some[6].Extensions = []byte("\xc1crc\x00\x00\x00\x00") // a seal that does not fit
	dir := dataDir(t, "boltdb", some)
	change(t, dir, func(logs *bbolt.Bucket) error {
		for _, err := range []error{
			logs.Put(key(4), []byte{0xc1, 1, 2}), logs.Put(key(5), bytes.Clone(logs.Get(key(6)))), logs.Delete(key(9)), logs.Delete(key(10)),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	var got []string
	for _, e := range describe(t, dir, 0, 100) {
		got = append(got, fmt.Sprintf("%d-%d %s", e.Index, e.Last, e.Type))
	}
	want := []string{"1-0 configuration", "2-0 noop", "3-0 barrier", "4-0 damaged", "5-0 damaged", "6-0 command", "7-0 damaged", "8-0 command", "9-10 missing", "11-0 command", "12-0 command"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	s, err := recovery.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Fit || s.LastIndex != 3 || len(s.Damage) != 1 || !strings.HasPrefix(s.Damage[0], "log entry 4 is damaged") {
		t.Errorf("got %+v", s)
	}
	if _, err := recovery.New([]*recovery.Survivor{s}, recovery.Options{}); !structs.IsCode(err, structs.Corrupt) {
		t.Errorf("a plan with damaged data alone: got %v, want code Corrupt", err)
	}
}

// Whatever is done to raft.db, reading it ends, and never with a panic.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(filepath.Join(dataDir(t, "boltdb", entries(t)), "raft", "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	damages := map[string]func([]byte) []byte{
		"empty":    func([]byte) []byte { return nil },
		"foreign":  func([]byte) []byte { return bytes.Repeat([]byte("not a raft log "), 5000) },
		"half":     func(b []byte) []byte { return b[:len(b)/2] },
		"cut":      func(b []byte) []byte { return b[:len(b)-4096] },
		"one page": func(b []byte) []byte { return b[:4096] },
	}
	for page := range len(good) / 4096 {
		damages[fmt.Sprintf("page %d zeroed", page)] = func(b []byte) []byte { clear(b[page*4096 : (page+1)*4096]); return b }
		damages[fmt.Sprintf("page %d of ones", page)] = func(b []byte) []byte {
			for i := range 4096 {
				b[page*4096+i] = 0xff
			}
			return b
		}
		if page > 64 {
			break
		}
	}
	for name, damage := range damages {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "raft"), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "raft", "raft.db")
		bad := damage(bytes.Clone(good))
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if log, unlock, err := recovery.OpenLocked(dir); err == nil {
			for range log.Describe(0, 1<<63) {
			}
			unlock()
		} else if !structs.IsCode(err, structs.Corrupt) {
			t.Errorf("%s: got %v, want code Corrupt", name, err)
		}
		if s, err := recovery.Read(dir); err == nil {
			s.Close()
		} else if !structs.IsCode(err, structs.NotFound) {
			t.Errorf("%s: got %v", name, err)
		}
		if after, _ := os.ReadFile(file); !bytes.Equal(after, bad) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	running := dataDir(t, "boltdb", entries(t))
	hold := holdLock(t, running)
	defer hold.Close()
	used := dataDir(t, "boltdb", entries(t))
	db, err := bbolt.Open(filepath.Join(used, "raft", "raft.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fresh := dataDir(t, "boltdb", nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		code       structs.Code
		text       string
	}{
		{"a server runs", running, structs.Busy, "a server (pid 1) runs on " + running + ": stop it first"},
		{"another program has raft.db open", used, structs.Busy, "is in use"},
		{"nothing there", filepath.Join(running, "nowhere"), structs.NotFound, "there is no directory"},
		{"not a data directory", t.TempDir(), structs.NotFound, "is not the data directory of a server"},
		{"never started", fresh, structs.NotFound, "has never been a member of a cluster"},
		{"neither directory nor report", file, structs.Invalid, "is neither a data directory nor a report"},
	} {
		survivors, err := recovery.ReadAll([]string{tt.path})
		if !structs.IsCode(err, tt.code) || !strings.Contains(err.Error(), tt.text) || survivors != nil {
			t.Errorf("%s: got %v, want code %d and %q", tt.name, err, tt.code, tt.text)
		}
	}
}

// addSnapshot puts a snapshot of a state into a data directory and returns its
// directory.
func addSnapshot(t *testing.T, dir string, index, term uint64, servers raft.Configuration) string {
	t.Helper()
	store, err := raft.NewFileSnapshotStoreWithLogger(filepath.Join(dir, "raft"), 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	state := fsm.New()
	entry, err := structs.EncodeCommand(&structs.MetadataRequest{Op: structs.MetadataUpsert, Entry: &structs.MetadataEntry{Key: structs.ClusterIDKey, Value: "c1"}})
	if err != nil {
		t.Fatal(err)
	}
	state.Apply(&raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: entry})
	snapshot, err := state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	_, transport := raft.NewInmemTransport("")
	sink, err := store.Create(1, index, term, servers, 1, transport)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Persist(sink); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "raft", "snapshots", sink.ID())
}

// A server has what its newest good snapshot has and the log behind it. If a
// damaged one leaves a hole, the server is not fit to live on.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	logs := entries(t)[:12]
	for _, tt := range []struct {
		name   string
		log    []*raft.Log
		damage bool
		fit    bool
		last   uint64
	}{
		{"with all of the log", logs, false, true, 12},
		{"with the log behind it", logs[8:], false, true, 12},
		{"with an older log", logs[:3], false, true, 8},
		{"without a log", nil, false, true, 8},
		{"damaged, with all of the log", logs, true, true, 12},
		{"damaged, with the log behind it", logs[8:], true, false, 12},
		{"damaged, with an older log", logs[:3], true, false, 3},
		{"damaged, without a log", nil, true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t, "boltdb", tt.log)
			snapshot := addSnapshot(t, dir, 8, 3, raft.Configuration{Servers: []raft.Server{{ID: "one", Address: "10.0.0.9:8300"}}})
			if tt.damage {
				file := filepath.Join(snapshot, "state.bin")
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				data[len(data)-3] ^= 1
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := recovery.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Fit != tt.fit || s.LastIndex != tt.last || (len(s.Snapshots) == 1) == tt.damage || (len(s.Damage) > 0) != tt.damage {
				t.Errorf("got %+v, want fit %v, last index %d", s, tt.fit, tt.last)
			}
			if !tt.damage && (s.Cluster != "c1" || len(s.Servers) != 1 || s.LastTerm != 3) {
				t.Errorf("of the snapshot: %+v", s)
			}
		})
	}
}

// A log with a record tells more: which entries are not what they were, and that
// its end is lost.
func TestRecord(t *testing.T) {
	t.Parallel()
	spoil := func(t *testing.T, dir, text string) { // one of the files of the log has it
		t.Helper()
		err := filepath.WalkDir(filepath.Join(dir, "raft"), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(file)
			return errors.Join(err, os.WriteFile(file, bytes.ReplaceAll(content, []byte(text), bytes.ToUpper([]byte(text))), 0o600))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		note   func(s *logstore.Store) error
		harm   func(t *testing.T, dir string)
		fit    bool
		last   uint64
		damage string
	}{
		{"all is there", nil, nil, true, 6, ""},
		{"an entry is damaged", nil, func(t *testing.T, dir string) { spoil(t, dir, "secret") }, false, 3, "log entry 4 is damaged: it is not what was written"},
		{"a snapshot is lost", func(s *logstore.Store) error { return s.NoteSnapshot(8, raft.Configuration{}) }, nil, false, 6, "log entry 7 to 8 is lost"},
		{"being repaired", func(s *logstore.Store) error { return s.SetRepairing(7) }, nil, false, 6, "log entry 7 is lost"},
		{"the record is damaged", nil, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "raft", "record"), make([]byte, 12<<10), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false, 6, "record is damaged"},
	} {
		for _, backend := range []string{"boltdb", "wal"} {
			t.Run(backend+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				dir := dataDir(t, backend, nil)
				s, err := logstore.Open(filepath.Join(dir, "raft"), "one", logstore.Options{})
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range entries(t)[:6] {
					err = errors.Join(err, s.StoreLog(l))
				}
				if tt.note != nil {
					err = errors.Join(err, tt.note(s))
				}
				if err = errors.Join(err, s.Close()); err != nil {
					t.Fatal(err)
				}
				if tt.harm != nil {
					tt.harm(t, dir)
				}
				r, err := recovery.Read(dir)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				if r.Fit != tt.fit || r.LastIndex != tt.last || !strings.Contains(strings.Join(r.Damage, "\n"), tt.damage) {
					t.Errorf("got fit %v, last index %d, %q", r.Fit, r.LastIndex, r.Damage)
				}
			})
		}
	}
}

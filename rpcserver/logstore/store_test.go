package logstore_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"

	"praetor/rpcserver/logstore"
	"praetor/structs"
)

var backends = []string{"boltdb", "wal"}

func other(backend string) string {
	if backend == "wal" {
		return "boltdb"
	}
	return "wal"
}

func options(backend string) logstore.Options {
	return logstore.Options{Backend: backend, SegmentSize: 8 << 10}
}

// scratch is a directory of the test: in memory where the machine has that, so
// that syncs cost nothing.
func scratch(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "praetor-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// bothWays runs a test with each backend, on an empty directory.
func bothWays(t *testing.T, test func(t *testing.T, backend, dir string)) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			test(t, backend, scratch(t))
		})
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir, backend string) *logstore.Store {
	t.Helper()
	s, err := logstore.Open(dir, "me", options(backend))
	must(t, err)
	return s
}

// entries are of all shapes: with and without extensions, data and a time.
func entries(from, to uint64) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		l := &raft.Log{Index: i, Term: 2 + i/50, Type: raft.LogType(i % 2), Data: fmt.Append(nil, "data ", i, strings.Repeat("x", int(i%300)))}
		if i%3 == 0 {
			l.Extensions = fmt.Append(nil, "part ", i)
		}
		if i%4 > 0 {
			l.AppendedAt = time.Date(2026, 1, 2, 3, 4, int(i%60), int(i), time.FixedZone("", 3600))
		}
		logs = append(logs, l)
	}
	return logs
}

// mustHold fails unless the store has exactly these entries.
func mustHold(t *testing.T, s raft.LogStore, from, to uint64) {
	t.Helper()
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	if first != from || last != to {
		t.Fatalf("got entries %d to %d, want %d to %d", first, last, from, to)
	}
	for _, want := range entries(from, to) {
		var got raft.Log
		must(t, s.GetLog(want.Index, &got))
		if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type || string(got.Data) != string(want.Data) ||
			string(got.Extensions) != string(want.Extensions) || (got.Extensions == nil) != (want.Extensions == nil) || !got.AppendedAt.Equal(want.AppendedAt) {
			t.Fatalf("got %+v, want %+v", got, *want)
		}
	}
	var none raft.Log
	if err := s.GetLog(to+1, &none); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("entry behind the end: got %v", err)
	}
	if err := s.GetLog(from-1, &none); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("entry before the beginning: got %v", err)
	}
}

// What is stored is read again, and raft's own entries are not touched: other
// goroutines send them to other servers.
func TestStore(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, dir string) {
		s := open(t, dir, backend)
		given := entries(1, 200)
		must(t, s.StoreLogs(given), s.SetUint64([]byte("CurrentTerm"), 7), s.Set([]byte("LastVoteCand"), []byte("you")))
		for i, want := range entries(1, 200) {
			if fmt.Sprint(*given[i]) != fmt.Sprint(*want) {
				t.Fatalf("raft's entry is %+v now, was %+v", *given[i], *want)
			}
		}
		mustHold(t, s, 1, 200)
		must(t, s.DeleteRange(151, 200))
		mustHold(t, s, 1, 150)
		must(t, s.StoreLogs(entries(151, 160)), s.DeleteRange(1, 20))
		for range 2 {
			mustHold(t, s, 21, 160)
			must(t, s.Close())
			s = open(t, dir, "")
		}
		term, err := s.GetUint64([]byte("CurrentTerm"))
		vote, err2 := s.Get([]byte("LastVoteCand"))
		voteTerm, err3 := s.GetUint64([]byte("LastVoteTerm"))
		must(t, err, err2, err3)
		if term != 7 || string(vote) != "you" || voteTerm != 0 {
			t.Errorf("got term %d, vote %q, its term %d", term, vote, voteTerm)
		}
		if err := s.Set([]byte("k"), nil); err == nil {
			t.Error("a value that the record has no room for was taken")
		}
		must(t, s.DeleteRange(21, 160), s.StoreLogs(entries(500, 520)))
		mustHold(t, s, 500, 520)
		must(t, s.Close())
		s = open(t, dir, backend)
		mustHold(t, s, 500, 520)
		must(t, s.Close())
	})
}

// bare opens the library's store without seals.
func bare(t *testing.T, dir, backend string) interface {
	raft.LogStore
	raft.StableStore
} {
	t.Helper()
	if backend == "boltdb" {
		s, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
		must(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	must(t, os.MkdirAll(filepath.Join(dir, "wal"), 0o700))
	meta := &metadb.BoltMetaDB{}
	s, err := raftwal.Open(filepath.Join(dir, "wal"), raftwal.WithMetaStore(meta), raftwal.WithSegmentSize(8<<10))
	must(t, err)
	t.Cleanup(func() { s.Close(); meta.Close() })
	return s
}

// A log from before there were seals opens and is read; what is written from now
// on is sealed. The libraries read both.
func TestLogWithoutSeals(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, dir string) {
		t.Run("before", func(t *testing.T) {
			old := bare(t, dir, backend)
			must(t, old.StoreLogs(entries(1, 50)), old.SetUint64([]byte("CurrentTerm"), 2))
		})
		for range 2 {
			s := open(t, dir, "")
			if last, _ := s.LastIndex(); last == 50 {
				must(t, s.StoreLogs(entries(51, 100)))
			}
			mustHold(t, s, 1, 100)
			must(t, s.Close())
		}
		if _, err := logstore.Open(dir, "you", options("")); !structs.IsCode(err, structs.Corrupt) {
			t.Errorf("opened by another server: got %v", err)
		}
		if _, err := logstore.Open(dir, "me", options(other(backend))); !structs.IsCode(err, structs.Invalid) || !strings.Contains(err.Error(), "praetor operator raft convert") {
			t.Errorf("opened as another backend: got %v", err)
		}
		t.Run("by the library", func(t *testing.T) {
			old := bare(t, dir, backend)
			var entry raft.Log
			must(t, old.GetLog(70, &entry))
			if want := entries(70, 70)[0]; string(entry.Data) != string(want.Data) || entry.Term != want.Term {
				t.Errorf("got %+v", entry)
			}
		})
		must(t, os.Remove(filepath.Join(dir, "record")))
		if _, err := logstore.Open(dir, "me", options("")); !structs.IsCode(err, structs.Corrupt) {
			t.Errorf("without its record: got %v", err)
		}
	})
}

// content is every file of a directory, with its bytes.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = string(b)
		return err
	}))
	return files
}

// Wherever bits flip, Open says so, or every entry is as it was or said to be
// damaged. What Open refuses it leaves as it is, so that nothing is lost that
// could be read.
func TestFlippedBits(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, origin string) {
		s := open(t, origin, backend)
		for i := uint64(1); i <= 120; i += 10 {
			must(t, s.SetUint64([]byte("CurrentTerm"), i), s.StoreLogs(entries(i, i+9)))
		}
		must(t, s.Set([]byte("LastVoteCand"), []byte("you")), s.DeleteRange(1, 15), s.StoreLogs(entries(121, 121)), s.Close())
		files := content(t, origin)
		refused, read, sound := 0, 0, 0
		tries := 0
		for _, name := range slices.Sorted(maps.Keys(files)) {
			good := files[name]
			for at := 0; at < len(good); at++ {
				header := strings.HasSuffix(name, ".db") && at%4096 < 80
				if good[at] == 0 && at%509 != 0 && !header { // most of what is there is room
					continue
				}
				if tries++; tries%241 != 0 {
					continue
				}
				dir := filepath.Join(scratch(t), "raft")
				must(t, os.CopyFS(dir, os.DirFS(origin)))
				bad := []byte(good)
				bad[at] ^= 1 << (at % 8)
				must(t, os.WriteFile(filepath.Join(dir, name), bad, 0o600))
				before := content(t, dir)
				s, err := logstore.Open(dir, "me", options(""))
				if err != nil {
					refused++
					if !structs.IsCode(err, structs.Corrupt) {
						t.Errorf("%s, byte %d: refused with %v", name, at, err)
					}
					for file, was := range before {
						if is, _ := os.ReadFile(filepath.Join(dir, file)); string(is) != was && !strings.HasSuffix(file, ".db") {
							t.Errorf("%s, byte %d: refused, and %s was changed", name, at, file)
						}
					}
					continue
				}
				damaged := 0
				for _, want := range entries(16, 121) {
					var got raft.Log
					switch err := s.GetLog(want.Index, &got); {
					case structs.IsCode(err, structs.Corrupt) || errors.Is(err, raft.ErrLogNotFound):
						damaged++
					case err != nil || string(got.Data) != string(want.Data) || got.Term != want.Term || string(got.Extensions) != string(want.Extensions):
						t.Errorf("%s, byte %d: entry %d is %+v, %v", name, at, want.Index, got, err)
					}
				}
				if last, _ := s.LastIndex(); last != 121 {
					t.Errorf("%s, byte %d: the last entry is %d", name, at, last)
				}
				if damaged > 0 {
					read++
				} else {
					sound++
				}
				term, _ := s.GetUint64([]byte("CurrentTerm"))
				vote, _ := s.Get([]byte("LastVoteCand"))
				if term != 111 || string(vote) != "you" {
					t.Errorf("%s, byte %d: term %d, vote %q", name, at, term, vote)
				}
				must(t, s.Close())
			}
		}
		t.Logf("%d refused, %d with damaged entries, %d sound", refused, read, sound)
		if refused == 0 || read == 0 {
			t.Errorf("%d refused, %d with damaged entries: the test shows little", refused, read)
		}
	})
}

// raft-wal v0.4.0 can read nothing of a segment that was cut, and takes nothing
// more after one that was just filled, once it is opened again. See walMeta.
func TestEndOfSegment(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, dir string) {
		s := open(t, dir, backend)
		end := uint64(0)
		for range 12 {
			must(t, s.StoreLogs(entries(end+1, end+30)), s.DeleteRange(end+25, end+30)) // within a segment
			end += 24
			mustHold(t, s, 1, end)
			must(t, s.StoreLogs(entries(end+1, end+2)), s.Close())
			end += 2
			s = open(t, dir, backend)
			mustHold(t, s, 1, end)
			must(t, s.StoreLogs(entries(end+1, end+100)), s.Close()) // fills it
			end += 100
			s = open(t, dir, backend)
			mustHold(t, s, 1, end)
		}
		must(t, s.Close())
	})
}

// A log whose newest entries are gone is not opened. raft-wal takes a damaged end
// for a write that was cut short, and would go on before it.
func TestEndIsLost(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, dir string) {
		s := open(t, dir, backend)
		must(t, s.SetUint64([]byte("CurrentTerm"), 2), s.StoreLogs(entries(1, 50)), s.StoreLogs(entries(51, 60)), s.Close())
		t.Run("cut", func(t *testing.T) { must(t, bare(t, dir, backend).DeleteRange(55, 60)) })
		if _, err := logstore.Open(dir, "me", options("")); !structs.IsCode(err, structs.Corrupt) || !strings.Contains(err.Error(), "had come to 60") {
			t.Errorf("got %v", err)
		}
	})
}

// A log of which a snapshot has taken over all entries is empty, and no less whole.
func TestNothingIsLeft(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, dir string) {
		s := open(t, dir, backend)
		must(t, s.SetUint64([]byte("CurrentTerm"), 2), s.StoreLogs(entries(1, 50)), s.DeleteRange(1, 30), s.DeleteRange(31, 50), s.Close())
		s = open(t, dir, backend)
		must(t, s.StoreLogs(entries(51, 60)), s.Close())
		s = open(t, dir, backend)
		mustHold(t, s, 51, 60)
		must(t, s.Close())
	})
}

// A damaged log makes room for an empty one that keeps term and vote, also if the
// server stops half way; without the record, or other voters, it stays.
func TestRenew(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, dir string) {
		s := open(t, dir, backend)
		three := raft.Configuration{Servers: []raft.Server{{ID: "me"}, {ID: "you"}, {ID: "she"}}}
		must(t, s.SetUint64([]byte("CurrentTerm"), 5), s.StoreLogs(entries(1, 50)), s.Close())
		if _, _, err := logstore.Renew(dir, "me", options("")); !structs.IsCode(err, structs.Corrupt) {
			t.Errorf("with no other voter: got %v", err)
		}
		s = open(t, dir, backend)
		must(t, s.StoreLog(&raft.Log{Index: 51, Term: 5, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(three)}),
			s.Set([]byte("LastVoteCand"), []byte("you")), s.Close())
		if _, _, err := logstore.Renew(dir, "you", options("")); !structs.IsCode(err, structs.Corrupt) {
			t.Errorf("of another server: got %v", err)
		}
		record, err := os.ReadFile(filepath.Join(dir, "record"))
		must(t, err)
		half := slices.Clone(record)
		clear(half[:64])
		must(t, os.WriteFile(filepath.Join(dir, "record"), half, 0o600))
		if _, _, err := logstore.Renew(dir, "me", options("")); !structs.IsCode(err, structs.Corrupt) {
			t.Errorf("with half of a record: got %v", err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "record"), record, 0o600))
		aside, until, err := logstore.Renew(dir, "me", options(""))
		must(t, err)
		if _, err := os.Stat(aside); err != nil || until != 51 {
			t.Errorf("kept %s, %v, until %d", aside, err, until)
		}
		for range 2 {
			s = open(t, dir, "")
			term, _ := s.GetUint64([]byte("CurrentTerm"))
			vote, _ := s.Get([]byte("LastVoteCand"))
			last, _ := s.LastIndex()
			if term != 5 || string(vote) != "you" || last != 0 || s.Repairing() != 51 {
				t.Errorf("term %d, vote %q, last %d, repairing %d", term, vote, last, s.Repairing())
			}
			must(t, s.Close())
		}
		must(t, os.RemoveAll(aside))
		_, _, err = logstore.Renew(dir, "me", options("")) // again, and the new one is not there yet
		must(t, err)
		s = open(t, dir, "")
		must(t, s.SetRepairing(0), s.StoreLogs(entries(1, 9)))
		mustHold(t, s, 1, 9)
		must(t, s.Close())
	})
}

// There and back, the log is the same, and the server goes on with it.
func TestConvert(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, data string) {
		dir := filepath.Join(data, "raft")
		must(t, os.Mkdir(dir, 0o700))
		t.Run("before", func(t *testing.T) {
			old := bare(t, dir, backend)
			must(t, old.StoreLogs(entries(1, 50)), old.SetUint64([]byte("CurrentTerm"), 9))
		})
		s := open(t, dir, "")
		must(t, s.StoreLogs(entries(51, 300)), s.DeleteRange(1, 30), s.Set([]byte("LastVoteCand"), []byte("you")), s.Close())
		before := content(t, dir)
		if _, err := logstore.Convert(dir, "me", other(backend), options(""), true); err != nil {
			t.Fatal(err)
		}
		if after := content(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Error("a dry run has changed the directory")
		}
		end := uint64(300)
		for _, to := range []string{other(backend), backend} {
			// What a conversion that was stopped may have left.
			name := map[string]string{"wal": "wal", "boltdb": "raft.db"}[to]
			must(t, os.WriteFile(filepath.Join(dir, name+".new"), []byte("half"), 0o600))
			if to == other(backend) {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte("never in use"), 0o600))
			}
			c, err := logstore.Convert(dir, "me", to, options(""), false)
			must(t, err)
			if c.First != 31 || c.Last != end || c.Dropped != 0 {
				t.Errorf("got %+v", c)
			}
			if _, err := logstore.Convert(dir, "me", to, options(""), false); !structs.IsCode(err, structs.Conflict) {
				t.Errorf("once more: got %v", err)
			}
			must(t, os.Rename(c.Kept, c.From)) // it was stopped before the last step
			_, err = logstore.Convert(dir, "me", to, options(""), false)
			must(t, err, os.RemoveAll(c.Kept))
			s := open(t, dir, "")
			mustHold(t, s, 31, end)
			end += 5
			must(t, s.StoreLogs(entries(end-4, end)))
			mustHold(t, s, 31, end)
			term, _ := s.GetUint64([]byte("CurrentTerm"))
			vote, _ := s.Get([]byte("LastVoteCand"))
			if term != 9 || string(vote) != "you" {
				t.Errorf("term %d, vote %q", term, vote)
			}
			must(t, s.Close())
		}
	})
}

// boltdb may have a gap, where a snapshot came from the leader; wal may not.
func TestConvertGap(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	s := open(t, dir, "boltdb")
	must(t, s.SetUint64([]byte("CurrentTerm"), 2), s.StoreLogs(entries(1, 10)), s.StoreLogs(entries(101, 120)), s.Close())
	c, err := logstore.Convert(dir, "me", "wal", options(""), false)
	if err != nil || c.First != 101 || c.Last != 120 || c.Dropped != 10 {
		t.Errorf("got %+v, %v", c, err)
	}
	s = open(t, dir, "wal")
	mustHold(t, s, 101, 120)
	must(t, s.Close())
}

// A damaged log is not converted.
func TestConvertRefuses(t *testing.T) {
	bothWays(t, func(t *testing.T, backend, dir string) {
		s := open(t, dir, backend)
		must(t, s.SetUint64([]byte("CurrentTerm"), 2), s.StoreLogs(entries(1, 40)), s.StoreLogs(entries(41, 50)), s.Close())
		for name, b := range content(t, dir) {
			if bad := strings.ReplaceAll(b, "data 20", "DATA 20"); bad != b {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(bad), 0o600))
			}
		}
		for _, dry := range []bool{true, false} {
			if _, err := logstore.Convert(dir, "me", other(backend), options(""), dry); !structs.IsCode(err, structs.Corrupt) || !strings.Contains(err.Error(), "entry 20") {
				t.Errorf("dry %v: got %v", dry, err)
			}
		}
		if _, err := logstore.Convert(dir, "me", "paper", options(""), true); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("to paper: got %v", err)
		}
	})
}

// nothing is a library's store that keeps nothing.
type nothing struct{ *fakeLog }

func (nothing) StoreLogs([]*raft.Log) error { return nil }

// BenchmarkSeal is what the store costs an entry beside the library: seals, and a
// hint in a file for each batch.
func BenchmarkSeal(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			file, err := os.Create(filepath.Join(b.TempDir(), "record"))
			if err != nil {
				b.Fatal(err)
			}
			inner := nothing{newFakeLog()}
			inner.power = &power{left: 1 << 30}
			if err := logstore.NewOver(inner, file, "me"); err != nil {
				b.Fatal(err)
			}
			store, err := logstore.OpenOver(inner, file)
			if err != nil {
				b.Fatal(err)
			}
			var logs []*raft.Log
			for i := range batch {
				logs = append(logs, &raft.Log{Index: uint64(i + 1), Term: 1, Data: make([]byte, 300), AppendedAt: time.Now()})
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := store.StoreLogs(logs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/entry")
		})
	}
}

// BenchmarkStoreLogs compares the store with the libraries on the same disk.
func BenchmarkStoreLogs(b *testing.B) {
	stores := map[string]func(dir string) (raft.LogStore, error){
		"bare-boltdb": func(dir string) (raft.LogStore, error) {
			return raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, "raft.db"), BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}})
		},
		"bare-wal": func(dir string) (raft.LogStore, error) { return raftwal.Open(dir) },
	}
	for _, backend := range backends {
		stores["sealed-"+backend] = func(dir string) (raft.LogStore, error) {
			return logstore.Open(dir, "me", logstore.Options{Backend: backend, SegmentSize: 64 << 20})
		}
	}
	for _, batch := range []int{1, 64, 512} {
		for _, name := range []string{"bare-boltdb", "sealed-boltdb", "bare-wal", "sealed-wal"} {
			b.Run(fmt.Sprintf("%s/%d", name, batch), func(b *testing.B) {
				dir, err := os.MkdirTemp("/dev/shm", "praetor-bench-")
				if err != nil {
					dir = b.TempDir()
				}
				defer os.RemoveAll(dir)
				store, err := stores[name](dir)
				if err != nil {
					b.Fatal(err)
				}
				logs := make([]*raft.Log, batch)
				data := make([]byte, 300)
				index := uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					for i := range logs {
						index++
						logs[i] = &raft.Log{Index: index, Term: 1, Data: data}
					}
					if err := store.StoreLogs(logs); err != nil {
						b.Fatal(err)
					}
					if index%(1<<14) < uint64(batch) && index > 1<<15 { // as snapshots do
						if err := store.DeleteRange(1, index-1<<14); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/entry")
			})
		}
	}
}

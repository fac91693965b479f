package rpcserver_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"praetor/rpcserver"
	"praetor/structs"
)

// The layout is raft-boltdb's: what was written before opens and is read, what
// is written now can be read by its tools, and bucket by bucket.
func TestLogOfRaftBoltDB(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "raft.db")
	entries := func(from, to uint64) (logs []*raft.Log) {
		for i := from; i <= to; i++ {
			logs = append(logs, &raft.Log{Index: i, Term: 2, Data: fmt.Append(nil, "data ", i), Extensions: []byte{byte(i)}})
		}
		return logs
	}
	read := func(store raft.LogStore, to uint64) {
		t.Helper()
		for _, want := range entries(1, to) {
			var got raft.Log
			if err := store.GetLog(want.Index, &got); err != nil {
				t.Fatal(err)
			}
			if string(got.Data) != string(want.Data) || got.Term != 2 || string(got.Extensions) != string(want.Extensions) {
				t.Errorf("entry %d: got %+v", want.Index, got)
			}
		}
	}
	old, err := raftboltdb.NewBoltStore(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.StoreLogs(entries(1, 50)); err != nil {
		t.Fatal(err)
	}
	if err := old.SetUint64([]byte("CurrentTerm"), 2); err != nil {
		t.Fatal(err)
	}
	old.Close()
	for range 2 {
		store, err := rpcserver.OpenSealed(file, "me", rpcserver.DefaultConfig().Raft)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.StoreLogs(entries(51, 100)); err != nil {
			t.Fatal(err)
		}
		read(store, 100)
		if term, err := store.GetUint64([]byte("CurrentTerm")); err != nil || term != 2 {
			t.Errorf("term: got %d, %v", term, err)
		}
		if _, err := store.Get([]byte("LastVoteCand")); err == nil || err.Error() != "not found" {
			t.Errorf("no vote: got %v", err) // raft knows it by the text
		}
		if err := store.DeleteRange(90, 100); err != nil {
			t.Fatal(err)
		}
		if last, err := store.LastIndex(); err != nil || last != 89 {
			t.Errorf("last: got %d, %v", last, err)
		}
		if err := store.StoreLogs(entries(90, 100)); err != nil {
			t.Fatal(err)
		}
		store.Close()
	}
	if _, err := rpcserver.OpenSealed(file, "you", rpcserver.DefaultConfig().Raft); !structs.IsCode(err, structs.Corrupt) {
		t.Errorf("opened by another server: got %v", err)
	}
	if old, err = raftboltdb.NewBoltStore(file); err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	read(old, 100)
}

// A log that is cut at the old end, again and again, keeps what is left.
func TestLogIsCut(t *testing.T) {
	t.Parallel()
	store, err := rpcserver.OpenSealed(filepath.Join(t.TempDir(), "raft.db"), "me", rpcserver.DefaultConfig().Raft)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i := uint64(1); i <= 2000; i += 100 {
		var logs []*raft.Log
		for n := range uint64(100) {
			logs = append(logs, &raft.Log{Index: i + n, Data: make([]byte, n*7)})
		}
		if err := store.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
		if i > 300 {
			if err := store.DeleteRange(1, i-200); err != nil {
				t.Fatal(err)
			}
			first, _ := store.FirstIndex()
			last, _ := store.LastIndex()
			if first != i-199 || last != i+99 {
				t.Fatalf("got %d to %d, want %d to %d", first, last, i-199, i+99)
			}
		}
	}
}

// BenchmarkStoreLogs compares the log store with raft-boltdb on the same disk.
func BenchmarkStoreLogs(b *testing.B) {
	bolt := &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
	stores := map[string]func(file string) (raft.LogStore, error){
		"raft-boltdb": func(file string) (raft.LogStore, error) {
			return raftboltdb.New(raftboltdb.Options{Path: file, BoltOptions: bolt})
		},
		"ours": func(file string) (raft.LogStore, error) {
			return rpcserver.OpenSealed(file, "me", rpcserver.DefaultConfig().Raft)
		},
	}
	for _, batch := range []int{1, 64} {
		for name, open := range stores {
			b.Run(fmt.Sprintf("%s/%d", name, batch), func(b *testing.B) {
				store, err := open(filepath.Join(b.TempDir(), "raft.db"))
				if err != nil {
					b.Fatal(err)
				}
				index := uint64(0)
				for b.Loop() {
					var logs []*raft.Log
					for range batch {
						index++
						logs = append(logs, &raft.Log{Index: index, Term: 1, Data: make([]byte, 300)})
					}
					if err := store.StoreLogs(logs); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"praetor/structs"
)

// survivors makes the data directories of what is left of a cluster of five, for
// the scripts: a has most, b is behind, c is a report from another machine. Of
// another cluster is x, damaged is d, and e is an empty directory.
func survivors(t *testing.T) {
	t.Helper()
	dataDir(t, "a", 0, "cluster-1", 40)
	dataDir(t, "b", 1, "cluster-1", 33)
	dataDir(t, "d", 3, "cluster-1", 40)
	dataDir(t, "x", 4, "cluster-2", 40)
	if err := os.WriteFile("d/raft/raft.db", []byte("not any more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("e", 0o700); err != nil {
		t.Fatal(err)
	}
	report := fmt.Sprintf(`{"Format": 1, "Survivors": [{"Host": "server-c", "Dir": "/var/lib/praetor", "ID": %q, "Cluster": "cluster-1",
		"Term": 3, "LastTerm": 2, "LastIndex": 40, "LastTime": "2026-01-02T03:04:40Z", "Terms": [{"First": 1, "Last": 40, "Term": 2}], "Fit": true}]}`, id(2))
	if err := os.WriteFile("c.json", []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
}

func id(n int) string { return fmt.Sprintf("%d0000000-0000-0000-0000-000000000000", n+1) }

// dataDir makes a data directory with a log of entries, one a second.
func dataDir(t *testing.T, dir string, n int, cluster string, last uint64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "raft"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"node-id": id(n), "praetor.lock": "1234\n", "raft/peers.info": "explained"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, "raft", "raft.db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var servers raft.Configuration
	for i := range 5 {
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(id(i)), Address: raft.ServerAddress(fmt.Sprintf("10.0.0.%d:8300", i+1))})
	}
	var logs []*raft.Log
	for index := uint64(1); index <= last; index++ {
		log := &raft.Log{Index: index, Term: 2, AppendedAt: time.Date(2026, 1, 2, 3, 4, int(index), 0, time.UTC)}
		var c structs.Command = &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: fmt.Sprintf("app/%d", index), Value: []byte("secret")}}
		switch index {
		case 1:
			log.Type, log.Data, c = raft.LogConfiguration, raft.EncodeConfiguration(servers), nil
		case 2:
			log.Type, c = raft.LogNoop, nil
		case 3:
			c = &structs.MetadataRequest{Op: structs.MetadataUpsert, Entry: &structs.MetadataEntry{Key: structs.ClusterIDKey, Value: cluster}}
		case 31:
			c = &structs.KVSRequest{Op: structs.KVDeleteTree, DirEnt: structs.DirEntry{Key: "app/"}}
		}
		if c != nil {
			if log.Data, err = structs.EncodeCommand(c); err != nil {
				t.Fatal(err)
			}
		}
		logs = append(logs, log)
	}
	if err := store.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	if err := store.SetUint64([]byte("CurrentTerm"), 3); err != nil {
		t.Fatal(err)
	}
}

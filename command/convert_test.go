package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"praetor/rpcserver/logstore"
)

func TestRaftConvert(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "raft"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node-id"), []byte("me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := logstore.Open(filepath.Join(dir, "raft"), "me", logstore.Options{Backend: "boltdb"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if err := log.StoreLog(&raft.Log{Index: i + 1, Term: 1, Type: raft.LogNoop}); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, errs := execute("operator", "raft", "convert", "-to=wal", dir); code != 1 || !strings.Contains(errs, "is in use") {
		t.Errorf("while a server runs: exit code %d, %s", code, errs)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{dir}, 1, "Say which backend"},
		{[]string{"-to=paper", dir}, 1, `there is no log store "paper"`},
		{[]string{"-to=boltdb", dir}, 1, "is a boltdb log already"},
		{[]string{"-to=wal", t.TempDir()}, 1, "is not the data directory of a server"},
		{[]string{"-to=wal", "-dry-run", dir}, 0, "is whole: entries 1 to 3, term and vote would go to " + dir},
		{[]string{"-to=wal", dir}, 0, "The old log is kept: delete " + filepath.Join(dir, "raft", "raft.db.old")},
		{[]string{"-to=boltdb", dir}, 0, "delete " + filepath.Join(dir, "raft", "wal.old")},
		{[]string{"-to=wal", dir}, 1, "raft.db.old is there from an earlier conversion"},
	} {
		code, out, errs := execute(append([]string{"operator", "raft", "convert"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%v: exit code %d, want %d; %s%s, want %q", tt.args, code, tt.code, out, errs, tt.want)
		}
	}
	code, out, errs := execute("operator", "raft", "log", dir)
	if code != 0 || !strings.Contains(out, "Entries 1 to 3") {
		t.Errorf("the log: exit code %d, %s%s", code, out, errs)
	}
}

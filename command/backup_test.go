package command_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"praetor/agent/backup"
	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// target makes a directory with the fixture as a backup, sealed.
func target(t *testing.T) (dir, identity string, name string) {
	t.Helper()
	snap, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	var state bytes.Buffer
	meta, err := archive.Read(bytes.NewReader(snap), &state)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := fsm.Load(&state)
	if err != nil {
		t.Fatal(err)
	}
	view := loaded.View()
	hash, sum := view.Hash(), sha256.Sum256(snap)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir, identity = t.TempDir(), filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(identity, []byte(key.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := backup.Open(dir, backup.Options{Recipients: []string{key.Recipient().String()}})
	if err != nil {
		t.Fatal(err)
	}
	r := structs.BackupRecord{
		Name: "00000000000000000099-1767322800000", Index: 99, Time: time.UnixMilli(1767322800000), Size: int64(len(snap)),
		SHA256: hex.EncodeToString(sum[:]), StateHash: hex.EncodeToString(hash[:]), ClusterID: "c", Server: "one", Encrypted: true, Verified: true,
	}
	if meta.Index == 0 {
		t.Fatal("no index")
	}
	record, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	for ending, data := range map[string][]byte{".snap": snap, ".json": record} {
		if err := to.Put(t.Context(), "snap/"+r.Name+ending, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, identity, r.Name
}

func TestBackupRestore(t *testing.T) {
	f := newFake(t)
	snap := bytes.Clone(f.snapshot)
	dir, identity, name := target(t)
	t.Chdir(t.TempDir())

	out := run(t, "backup", "list", "-target="+dir)
	for _, want := range []string{name, "2026-01-02T03:00:00Z", "99", "verified", "true"} {
		if !strings.Contains(out, want) {
			t.Errorf("list: no %q in:\n%s", want, out)
		}
	}
	if out = run(t, "backup", "restore", "-target="+dir); !strings.Contains(out, "is encrypted: give the identity file") {
		t.Errorf("without a key: %s", out)
	}
	if out = run(t, "backup", "restore", "-target="+dir, "-identity-file="+identity, "-to-file=x.snap"); !strings.Contains(out, "Wrote backup "+name) {
		t.Errorf("to a file: %s", out)
	}
	if got, err := os.ReadFile("x.snap"); err != nil || !bytes.Equal(got, snap) {
		t.Errorf("the file differs: %v", err)
	}
	if f.restored != nil {
		t.Error("-to-file restored into the cluster")
	}
	config := filepath.Join(t.TempDir(), "server.hcl")
	if err := os.WriteFile(config, []byte(`backup { target = "`+dir+`" identity_file = "`+identity+`" }`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out = run(t, "backup", "restore", "-config-file="+config, "-name="+name); !strings.Contains(out, "Restored backup "+name) {
		t.Errorf("restore: %s", out)
	}
	if !bytes.Equal(f.restored, snap) {
		t.Error("the server got something else")
	}

	f.restored = nil
	path := filepath.Join(dir, "snap", name+".snap.age")
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stored[len(stored)/2] ^= 1
	if err := os.WriteFile(path, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"-to-file=y.snap", "-name=latest"} {
		if out = run(t, "backup", "restore", "-target="+dir, "-identity-file="+identity, more); !strings.Contains(out, "is damaged") || !strings.Contains(out, "(exit 1)") {
			t.Errorf("damaged, %s: %s", more, out)
		}
	}
	if left, _ := filepath.Glob("y.snap*"); f.restored != nil || len(left) > 0 {
		t.Errorf("a damaged backup was used: %q", left)
	}
}

// A command that may stand in a part of the log that cannot be read is not looked
// for in the rest: what is found may not be the last.
func TestBeforeWithAPartThatCannotBeRead(t *testing.T) {
	f := newFake(t)
	name := "00000000000000000001-00000000000000000003-0123abcd-0123456789abcdef.seg"
	for _, tt := range []struct{ ending, want string }{
		{"", "Part of the archived log cannot be read"},
		{".age", "is encrypted: give the identity file or the passphrase file that opens it"},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "log", name+tt.ending), bytes.Repeat([]byte("junk"), 100), 0o600); err != nil {
			t.Fatal(err)
		}
		out := run(t, "backup", "restore", "-target="+dir, "-before=delete-tree app/")
		if !strings.Contains(out, tt.want) || strings.Contains(out, "There is no") || f.restored != nil {
			t.Errorf("%q: got %s", tt.ending, out)
		}
		if out = run(t, "backup", "log", "-target="+dir); !strings.Contains(out, name) || !strings.Contains(out, "(exit ") {
			t.Errorf("%q: log: got %s", tt.ending, out)
		}
	}
}

// The time that backup log shows of a change, in milliseconds, is one up to which
// it can be had: not a moment that lies before it.
func TestTimesAreThoseShown(t *testing.T) {
	dir := t.TempDir()
	newServer(t, `-hcl=backup { target = "`+dir+`" log_lag = "20ms" }`)
	t.Chdir(t.TempDir())
	var lines []string
	for range 100 {
		if out := run(t, "backup", "status"); strings.Contains(out, "to index") && !strings.Contains(out, "to index 0") && !strings.Contains(out, "Awaits") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i := range 3 {
		run(t, "kv", "put", "k", fmt.Sprint(i))
		time.Sleep(2 * time.Millisecond) // so that each has a millisecond of its own
	}
	for range 100 {
		if lines = strings.Split(strings.TrimSpace(run(t, "backup", "log", "-target="+dir, "-prefix=k")), "\n"); len(lines) == 4 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(lines) != 4 {
		t.Fatalf("the log: got %q", lines)
	}
	for i, line := range lines[1:] {
		shown := strings.Fields(line)
		out := run(t, "backup", "restore", "-target="+dir, "-to-time="+shown[1], "-to-file=at.snap")
		if got := run(t, "snapshot", "get", "at.snap", "k"); !strings.HasPrefix(got, fmt.Sprint(i)) {
			t.Errorf("up to %s: got %s, want %d: %s", shown[1], got, i, out)
		}
		if out := run(t, "backup", "log", "-target="+dir, "-prefix=k", "-since="+shown[1], "-until="+shown[1]); !strings.Contains(out, shown[1]) {
			t.Errorf("from %s until then: got %s", shown[1], out)
		}
	}
}

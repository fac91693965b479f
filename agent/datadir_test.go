package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"praetor/agent"
)

func TestDataDirIsMadeAndLocked(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "data")
	a := start(t, settings(t, `data_dir = "`+dir+`"`))
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: got %v, %v", info, err)
	}
	a.put(t, "k", "v")
	_, err := agent.New(settings(t, `data_dir = "`+dir+`"`), agent.Options{})
	wantError(t, err, "is in use by another praetor agent (pid ")
	if got := a.get(t, "k"); got != "v" {
		t.Errorf("got %q after another agent tried", got)
	}
}

func TestNodeID(t *testing.T) {
	t.Parallel()
	const (
		one = "11111111-1111-1111-1111-111111111111"
		two = "22222222-2222-2222-2222-222222222222"
	)
	for _, tt := range []struct{ name, stored, configured, want, err string }{
		{"stored", " " + strings.ToUpper(one) + "\n", "", one, ""},
		{"configured", "", one, one, ""},
		{"both the same", one, one, one, ""},
		{"configured wins", one, two, two, ""},
		{"damaged", "1111", "", "", "node-id is damaged"},
		{"empty", "\n", "", "", "node-id is damaged"},
		{"damaged, configured", "1111", two, two, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := settings(t, `node_id = "`+tt.configured+`"`)
			file := filepath.Join(r.DataDir, "node-id")
			if tt.stored != "" {
				if err := os.WriteFile(file, []byte(tt.stored), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tt.err != "" {
				_, err := agent.New(r, agent.Options{})
				wantError(t, err, tt.err)
				return
			}
			a := start(t, r)
			text, err := os.ReadFile(file)
			if a.NodeID() != tt.want || strings.ToLower(strings.TrimSpace(string(text))) != tt.want || err != nil {
				t.Errorf("got %s, on disk %q, %v, want %s", a.NodeID(), text, err, tt.want)
			}
			if warned := strings.Contains(a.log.String(), "another server now"); warned != (tt.name == "configured wins") {
				t.Errorf("warned %t", warned)
			}
		})
	}
}

func TestDataDirIsFull(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	r := settings(t)
	if err := os.Symlink("/dev/full", filepath.Join(r.DataDir, "praetor.lock")); err != nil {
		t.Fatal(err)
	}
	_, err := agent.New(r, agent.Options{})
	wantError(t, err, "has no space left")
}

func TestDataDirMayNotBeWritten(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	r := settings(t)
	if err := os.Chmod(r.DataDir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := agent.New(r, agent.Options{})
	wantError(t, err, "may not be written to by user")
}

func TestPidFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	a := start(t, settings(t, `pid_file = "`+file+`"`))
	if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) == "" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := a.Shutdown(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("pid file after the end: %v", err)
	}
}

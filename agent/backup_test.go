package agent_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"praetor/agent"
	"praetor/agent/config"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/s3"
)

// backupBlock is the configuration of backups that are sealed and go to S3.
func backupBlock(t testing.TB, server *s3.Server, secret string) string {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return fmt.Sprintf(`backup { target = %q interval = "1h" identity_file = %q credentials_file = %q }`, server.URL("dc1"),
		write("identity", key.String()), write("credentials", fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s3.AccessKey, secret)))
}

func send(t testing.TB, method, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(body)
}

func (a started) backupStatus(t testing.TB) (s structs.BackupStatus) {
	t.Helper()
	code, body := send(t, "GET", a.HTTPAddrs()[0]+"/v1/operator/backup/status")
	if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil {
		t.Fatalf("status: got %d %s", code, body)
	}
	return s
}

func from(name string) func(*agent.Options) {
	return func(o *agent.Options) { o.RestoreFrom = name }
}

// A cluster is lost with all its disks, and a new one is started from its
// backups in one step.
func TestClusterFromBackup(t *testing.T) {
	t.Parallel()
	store := s3.New(t, "backups")
	block := backupBlock(t, store, s3.SecretKey)
	old := start(t, settings(t, block))
	testutil.Eventually(t, 20*time.Second, "the first backup", func() error {
		if s := old.backupStatus(t); s.Last == nil {
			return fmt.Errorf("got %+v", s)
		}
		return nil
	})
	old.put(t, "a", "1")
	code, body := send(t, "PUT", old.HTTPAddrs()[0]+"/v1/operator/backup/run")
	var record structs.BackupRecord
	if err := json.Unmarshal([]byte(body), &record); code != 200 || err != nil || !record.Good() || !record.Encrypted {
		t.Fatalf("run: got %d %s", code, body)
	}
	if s := old.backupStatus(t); s.Backups != 2 || s.Last.Name != record.Name || s.Failures != 0 || !s.Encrypted {
		t.Errorf("status: got %+v", s)
	}
	old.put(t, "a", "2")
	old.Shutdown()

	r := settings(t, block)
	again := start(t, r, from("latest"))
	if got := again.get(t, "a"); got != "1" {
		t.Errorf("got %q, want what was backed up", got)
	}
	testutil.Eventually(t, 20*time.Second, "a backup of the new cluster", func() error {
		if s := again.backupStatus(t); s.Last == nil || s.Last.ClusterID == record.ClusterID || s.Last.Index <= record.Index {
			return fmt.Errorf("got %+v", s)
		}
		return nil
	})
	again.put(t, "a", "3")
	again.Shutdown()
	_, err := agent.New(r, agent.Options{RestoreFrom: "latest"})
	wantError(t, err, "has a state already")
	if got := start(t, r).get(t, "a"); got != "3" {
		t.Errorf("got %q after a plain restart", got)
	}
	for _, where := range []string{store.URL("dc1") + "#" + record.Name, record.Name} {
		a := start(t, settings(t, block), from(where))
		if got := a.get(t, "a"); got != "1" {
			t.Errorf("from %s: got %q", where, got)
		}
		a.Shutdown()
	}
}

// A start from a backup that stops in the middle is never taken for a cluster.
func TestBrokenStartFromBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	block := fmt.Sprintf(`backup { target = %q }`, dir)
	old := start(t, settings(t, block))
	old.put(t, "a", "1")
	code, body := send(t, "PUT", old.HTTPAddrs()[0]+"/v1/operator/backup/run")
	var record structs.BackupRecord
	if err := json.Unmarshal([]byte(body), &record); code != 200 || err != nil {
		t.Fatalf("run: got %d %s", code, body)
	}
	old.Shutdown()
	r := settings(t, block)
	half := start(t, r) // founded, not yet restored
	half.Shutdown()
	mark := filepath.Join(r.DataDir, "restoring")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := agent.New(r, agent.Options{})
	wantError(t, err, "did not get to its end")
	a := start(t, r, from(dir+"#"+record.Name))
	if got := a.get(t, "a"); got != "1" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the mark is still there")
	}
}

func TestRestoreFromRefuses(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	junk := filepath.Join(empty, "junk.snap")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from   string
		change func(*config.Runtime)
		want   string
	}{
		{"latest", nil, "set backup.target"},
		{"latest", func(r *config.Runtime) { r.Backup.Target = empty }, "there is no good backup at the target"},
		{empty, nil, "there is no good backup at the target"},
		{junk, nil, "junk.snap"},
		{empty, func(r *config.Runtime) { r.Bootstrap = false }, "starts a new cluster: use it with -server -bootstrap"},
		{empty, func(r *config.Runtime) { r.DataDir = "" }, "needs a data directory"},
	} {
		r := settings(t)
		if tt.change != nil {
			tt.change(r)
		}
		_, err := agent.New(r, agent.Options{RestoreFrom: tt.from})
		wantError(t, err, tt.want)
		if r.DataDir != "" {
			if _, err := os.Stat(filepath.Join(r.DataDir, "restoring")); err == nil {
				t.Errorf("%s: left a mark", tt.from)
			}
		}
	}
}

// A target that fails is seen in the status, and nowhere else.
// Figures belong to the process, so no other agent may keep backups meanwhile.
func TestBackupTargetFails(t *testing.T) {
	a := start(t, settings(t, backupBlock(t, s3.New(t, "backups"), "wrong"), `telemetry { disable_hostname = true prometheus_retention_time = "1m" }`))
	testutil.Eventually(t, 20*time.Second, "a failure", func() error {
		if s := a.backupStatus(t); s.Failures == 0 || !strings.Contains(s.LastError, "refuses the access key") || s.Last != nil {
			return fmt.Errorf("got %+v", s)
		}
		return nil
	})
	code, body := send(t, "PUT", a.HTTPAddrs()[0]+"/v1/operator/backup/run")
	if code != 500 || !strings.Contains(body, "refuses the access key") {
		t.Errorf("run: got %d %s", code, body)
	}
	a.put(t, "a", "1")
	if got := a.get(t, "a"); got != "1" {
		t.Errorf("got %q", got)
	}
	if _, body = send(t, "GET", a.HTTPAddrs()[0]+"/v1/agent/metrics?format=prometheus"); !strings.Contains(body, "consul_backup_failures 2") {
		t.Errorf("metrics do not show two failures:\n%s", body)
	}
	a.log.await(t, "the backup did not work, will try again")
}

func TestNoBackupTarget(t *testing.T) {
	t.Parallel()
	a := start(t, settings(t))
	for method, path := range map[string]string{"GET": "status", "PUT": "run"} {
		code, body := send(t, method, a.HTTPAddrs()[0]+"/v1/operator/backup/"+path)
		if code != http.StatusNotImplemented || !strings.Contains(body, "set backup.target") {
			t.Errorf("%s: got %d %s", path, code, body)
		}
	}
	_, err := agent.New(settings(t, `backup { target = "ftp://x/y" }`), agent.Options{})
	wantError(t, err, "a target is a path")
}

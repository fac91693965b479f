package testutil_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/s3"
)

// drillLag is the promise that the drill holds the servers to.
const drillLag = 2 * time.Second

// place is where a drill's backups go.
type place struct{ url, credentials string }

func (p place) hcl() string {
	return fmt.Sprintf("retry_interval = \"500ms\"\nbackup { target = %q\nlog_lag = %q\ncredentials_file = %q }", p.url, drillLag, p.credentials)
}

func (p place) flags() []string {
	return []string{"-target=" + p.url, "-credentials-file=" + p.credentials}
}

// load is writers that keep what was acknowledged, and when.
type load struct {
	mu   sync.Mutex
	acks map[string]time.Time // by key; the value is the key
	stop context.CancelFunc
	done sync.WaitGroup
}

func startLoad(t *testing.T, all []*testutil.Process) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{acks: map[string]time.Time{}, stop: stop}
	var addrs []string
	for _, p := range all {
		addrs = append(addrs, p.RPCAddr())
	}
	for w := range 4 {
		c, err := client.New(addrs...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		l.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("load/%d/%d", w, i)
				if c.KV().Put(ctx, key, []byte(key)) == nil {
					l.mu.Lock()
					l.acks[key] = time.Now()
					l.mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return l
}

// missing are the keys acknowledged before a time that are not among the given.
func (l *load) missing(before time.Time, have map[string]string) (lost []string, asked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, at := range l.acks {
		if at.Before(before) {
			asked++
			if have[key] != key {
				lost = append(lost, key)
			}
		}
	}
	return lost, asked
}

func (l *load) grows(t *testing.T, by int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acks)
	}
	before := count()
	testutil.Eventually(t, 30*time.Second, "acknowledged writes", func() error {
		if n := count() - before; n < by {
			return fmt.Errorf("%d of %d", n, by)
		}
		return nil
	})
}

// drillCLI runs the binary, which must succeed.
func drillCLI(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := testutil.Run(t, args...)
	if code != 0 {
		t.Fatalf("praetor %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	t.Logf("praetor %s\n%s", strings.Join(args, " "), out)
	return out
}

// awaitArchive waits until the log is archived and has a backup to stand on.
func awaitArchive(t *testing.T, p *testutil.Process) *structs.LogArchiveStatus {
	t.Helper()
	var s structs.BackupStatus
	testutil.Eventually(t, 30*time.Second, "an archived log with a backup", func() error {
		out, errs, code := testutil.Run(t, "backup", "status", "-format=json", "-http-addr="+p.HTTPAddr())
		if s = (structs.BackupStatus{}); json.Unmarshal([]byte(out), &s) != nil || s.Log == nil || s.Log.Chain == "" || s.Log.AwaitBackup {
			return fmt.Errorf("code %d: %s%s", code, out, errs)
		}
		return nil
	})
	return s.Log
}

func keysOf(t *testing.T, p *testutil.Process) map[string]string {
	t.Helper()
	have := map[string]string{}
	c := p.Client()
	testutil.Eventually(t, 30*time.Second, "all keys", func() error {
		entries, _, err := c.KV().List(context.Background(), "", &structs.QueryOptions{RequireConsistent: true})
		for _, e := range entries {
			have[e.Key] = string(e.Value)
		}
		return err
	})
	return have
}

func under(have map[string]string, prefix string) (n int) {
	for key := range have {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

// drills reports whether the drills are to run that have a target of their own.
func drills() bool { return os.Getenv("PRAETOR_DRILLS") != "" }

// The drill: three servers under load lose everything they have. A new cluster
// from the newest backup and its log has every write that was acknowledged
// longer ago than the promised lag, and nothing that was deleted; then a tree
// that was deleted by mistake is brought back, as it was just before.
func TestDrill(t *testing.T) {
	if !drills() {
		t.Skip("it takes a minute: make drill runs it")
	}
	t.Run("directory", func(t *testing.T) { drill(t, place{url: filepath.Join(t.TempDir(), "backups")}) })
	t.Run("S3", func(t *testing.T) {
		key := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s3.AccessKey, s3.SecretKey)
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		drill(t, place{s3.New(t, "backups").URL("drill"), file})
	})
}

func drill(t *testing.T, where place) {
	const tree = 50
	ctx := context.Background()
	var all []*testutil.Process
	for range 3 {
		args := []string{"-bootstrap-expect=3", "-hcl", where.hcl()}
		for _, other := range all {
			args = append(args, other.Join())
		}
		all = append(all, testutil.NewProcess(t, args...))
	}
	for _, p := range all {
		p.Start()
	}
	for _, p := range all {
		p.AwaitLeader()
	}
	kv := all[0].Client().KV()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(kv.Put(ctx, "gone/early", []byte("1")))
	must(kv.Delete(ctx, "gone/early"))
	awaitArchive(t, all[0])
	l := startLoad(t, all)
	for i := range tree {
		must(kv.Put(ctx, fmt.Sprint("app/", i), fmt.Append(nil, i)))
	}
	must(kv.Put(ctx, "gone/late", []byte("1")))
	l.grows(t, 200)
	drillCLI(t, "backup", "run", "-http-addr="+all[0].HTTPAddr())
	must(kv.Delete(ctx, "gone/late"))
	l.grows(t, 200)

	beforeDelete := time.Now()
	must(kv.DeleteTree(ctx, "app/"))
	l.grows(t, 200)
	leader := leaderOf(t, all)
	leader.Kill()
	l.grows(t, 200)
	time.Sleep(2 * drillLag) // the new leader has caught up

	end := time.Now()
	for _, p := range all {
		p.Kill()
	}
	l.stop()
	l.done.Wait()
	for _, p := range all {
		must(os.RemoveAll(p.Dir))
	}

	first := testutil.NewProcess(t, "-bootstrap", "-restore-from=latest", "-hcl", where.hcl())
	started := time.Now()
	first.Start()
	first.AwaitLeader()
	t.Logf("the new cluster answers after %v", time.Since(started))
	for range 2 {
		p := testutil.NewProcess(t, "-hcl", where.hcl(), first.Join())
		p.Start()
		p.AwaitLeader()
	}
	have := keysOf(t, first)
	lost, asked := l.missing(end.Add(-drillLag), have)
	if len(lost) > 0 || asked < 600 {
		t.Errorf("of %d writes that were acknowledged %v before the end, %d are lost: %.200q", asked, drillLag, len(lost), lost)
	}
	_, acknowledged := l.missing(end, have)
	t.Logf("%d writes were acknowledged, %d of them %v before the end; %d are there", acknowledged, asked, drillLag, under(have, "load/"))
	if n := under(have, "app/") + under(have, "gone/"); n > 0 {
		t.Errorf("%d keys that were deleted have come back", n)
	}

	chain := awaitArchive(t, first).Chain
	drillCLI(t, append([]string{"backup", "log", "-prefix=gone/"}, where.flags()...)...)
	drillCLI(t, append([]string{"backup", "restore", "-before=delete-tree app/", "-http-addr=" + first.HTTPAddr()}, where.flags()...)...)
	have = keysOf(t, first)
	for i := range tree {
		if key := fmt.Sprint("app/", i); have[key] != fmt.Sprint(i) {
			t.Errorf("%s is %q, want %d", key, have[key], i)
		}
	}
	if lost, asked := l.missing(beforeDelete, have); len(lost) > 0 || asked < 300 {
		t.Errorf("of %d writes before the delete, %d are lost: %.200q", asked, len(lost), lost)
	}
	if n := under(have, "gone/"); n > 0 {
		t.Errorf("%d keys that were deleted have come back", n)
	}
	c := first.Client()
	must(c.KV().Put(ctx, "after", []byte("1")))
	testutil.Eventually(t, 30*time.Second, "a new chain", func() error {
		if s := awaitArchive(t, first); s.Chain == chain || len(s.Gaps) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
}

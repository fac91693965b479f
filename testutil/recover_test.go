package testutil_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
)

// Too many servers are killed under load and their disks are gone. The command
// alone brings the rest back, with every acknowledged write that it promises,
// and new servers take the place of the lost ones.
func TestRecoverByCommand(t *testing.T) {
	for _, tt := range []struct{ servers, left int }{{3, 1}, {5, 2}} {
		t.Run(fmt.Sprintf("%d of %d left", tt.left, tt.servers), func(t *testing.T) {
			if tt.servers > 3 && !drills() {
				t.Skip("it takes half a minute: make drill runs it")
			}
			all := processes(t, tt.servers)
			acknowledged := writeUntil(t, all, 300, func() {
				for _, p := range all {
					p.Kill()
				}
			})
			left := all[:tt.left]
			var dirs []string
			for _, p := range left {
				dirs = append(dirs, p.Dir)
			}
			for _, p := range all[tt.left:] {
				if err := os.RemoveAll(p.Dir); err != nil {
					t.Fatal(err)
				}
			}

			until := promise(t, dirs)
			out, stderr, code := testutil.Run(t, append([]string{"operator", "recover", "-dry-run"}, dirs...)...)
			if code != 0 || !strings.Contains(out, "Nothing was written") {
				t.Fatalf("-dry-run: exit code %d, %s%s", code, out, stderr)
			}
			if _, err := os.Stat(dirs[0] + "/raft/peers.json"); !os.IsNotExist(err) {
				t.Errorf("-dry-run has written: %v", err)
			}
			out, stderr, code = testutil.Run(t, append([]string{"operator", "recover"}, dirs...)...)
			t.Logf("it says:\n%s", out)
			if code != 0 || strings.Count(out, "Written: ") != tt.left {
				t.Fatalf("exit code %d, %s", code, stderr)
			}
			for _, p := range left {
				p.Start()
			}
			left[0].AwaitLeader()
			if _, stderr, code := testutil.Run(t, "operator", "recover", dirs[0]); code != 1 || !strings.Contains(stderr, "runs on "+dirs[0]+": stop it first") {
				t.Errorf("on a server that runs: exit code %d, %q", code, stderr)
			}
			have(t, left[0], acknowledged, until)

			var fresh []*testutil.Process
			for range tt.servers - tt.left {
				p := testutil.NewProcess(t, left[0].Join())
				p.Start()
				fresh = append(fresh, p)
			}
			awaitVoters(t, left[0], tt.servers)
			for _, p := range left {
				p.Kill()
			}
			fresh[0].AwaitLeader()
			have(t, fresh[0], acknowledged, until)
			c := fresh[0].Client()
			testutil.Eventually(t, 30*time.Second, "a write to the new servers", func() error {
				return c.KV().Put(context.Background(), "after", []byte("v"))
			})
		})
	}
}

// processes starts a cluster of n.
func processes(t *testing.T, n int) (all []*testutil.Process) {
	t.Helper()
	for range n {
		args := []string{fmt.Sprintf("-bootstrap-expect=%d", n), "-hcl", `retry_interval = "500ms"`}
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
	return all
}

// writeUntil writes until so many keys are acknowledged, then does what ends
// the cluster, and returns when each key was acknowledged.
func writeUntil(t *testing.T, all []*testutil.Process, keys int, end func()) map[string]time.Time {
	t.Helper()
	var addrs []string
	for _, p := range all {
		addrs = append(addrs, p.RPCAddr())
	}
	var mu sync.Mutex
	acknowledged := map[string]time.Time{}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var writers sync.WaitGroup
	for w := range 4 {
		c, err := client.New(addrs...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("load/%d/%d", w, i)
				if c.KV().Put(ctx, key, []byte("v")) == nil {
					mu.Lock()
					acknowledged[key] = time.Now()
					mu.Unlock()
				}
			}
		})
	}
	testutil.Eventually(t, time.Minute, "acknowledged writes", func() error {
		mu.Lock()
		defer mu.Unlock()
		if n := len(acknowledged); n < keys {
			return fmt.Errorf("%d of %d", n, keys)
		}
		return nil
	})
	end()
	stop()
	writers.Wait()
	return acknowledged
}

// promise is the time up to which recovery says that nothing is lost.
func promise(t *testing.T, dirs []string) (until time.Time) {
	t.Helper()
	out, stderr, code := testutil.Run(t, append([]string{"operator", "recover", "-report"}, dirs...)...)
	var report struct {
		Survivors []struct{ LastTime time.Time }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || len(report.Survivors) != len(dirs) {
		t.Fatalf("report: exit code %d, %v, %s", code, err, stderr)
	}
	for _, s := range report.Survivors {
		if s.LastTime.After(until) {
			until = s.LastTime
		}
	}
	return until
}

// have fails unless every write is there that was acknowledged before the time.
func have(t *testing.T, p *testutil.Process, acknowledged map[string]time.Time, until time.Time) {
	t.Helper()
	var entries []*structs.DirEntry
	c := p.Client()
	testutil.Eventually(t, 30*time.Second, "all keys", func() (err error) {
		entries, _, err = c.KV().List(context.Background(), "load/", &structs.QueryOptions{RequireConsistent: true})
		return err
	})
	found := map[string]bool{}
	for _, e := range entries {
		found[e.Key] = true
	}
	promised, missing, late := 0, 0, 0
	for key, at := range acknowledged {
		if at.After(until) {
			if late++; !found[key] {
				missing++
			}
			continue
		}
		if promised++; !found[key] {
			t.Errorf("%s is lost, which was acknowledged %v before the time up to which nothing is", key, until.Sub(at))
		}
	}
	t.Logf("%d writes promised; of %d later ones %d are lost", promised, late, missing)
	if promised < 100 {
		t.Errorf("only %d writes were promised of %d, so this tells little", promised, len(acknowledged))
	}
}

func awaitVoters(t *testing.T, p *testutil.Process, n int) {
	t.Helper()
	c := p.Client()
	testutil.Eventually(t, time.Minute, fmt.Sprintf("%d voters", n), func() error {
		var reply structs.RaftConfiguration
		if err := c.Read(context.Background(), "Operator.RaftGetConfiguration", &structs.DCSpecificRequest{}, &reply, 0); err != nil {
			return err
		}
		voters := 0
		for _, server := range reply.Servers {
			if server.Voter {
				voters++
			}
		}
		if voters != n {
			return fmt.Errorf("%d", voters)
		}
		return nil
	})
}

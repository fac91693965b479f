package testutil_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
)

func leaderOf(t *testing.T, all []*testutil.Process) *testutil.Process {
	t.Helper()
	var addr string
	if err := all[0].Client().Read(context.Background(), "Status.Leader", &structs.DCSpecificRequest{}, &addr, 0); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.RPCAddr() == addr {
			return p
		}
	}
	t.Fatalf("the leader %q is none of ours", addr)
	return nil
}

// agreed returns nil if the server has found its state equal to the others', and
// never different.
func agreed(p *testutil.Process) error {
	reply, err := http.Get("http://" + p.HTTPAddr() + "/v1/agent/self")
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	var self struct {
		Stats struct{ Verify map[string]string }
	}
	if err := json.NewDecoder(reply.Body).Decode(&self); err != nil {
		return err
	}
	v := self.Stats.Verify
	if v["agreed"] == "0" || v["disputed"] != "0" || v["quarantines"] != "0" {
		return fmt.Errorf("got %v", v)
	}
	return nil
}

// Three servers, the leader is killed under load: every acknowledged write is
// still there, on every server, also after all three were killed.
func TestKillTheLeaderUnderLoad(t *testing.T) {
	t.Parallel()
	all := processes(t, 3)
	var addrs []string
	for _, p := range all {
		addrs = append(addrs, p.RPCAddr())
	}
	var mu sync.Mutex
	acknowledged := map[string]string{}
	ctx, stop := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for w := range 8 {
		c, err := client.New(addrs...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key, value := fmt.Sprintf("load/%d/%d", w, i), fmt.Sprint(i)
				if c.KV().Put(ctx, key, []byte(value)) == nil {
					mu.Lock()
					acknowledged[key] = value
					mu.Unlock()
				}
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged)
	}
	grows := func(by int) {
		t.Helper()
		before := count()
		testutil.Eventually(t, 30*time.Second, "acknowledged writes", func() error {
			if n := count() - before; n < by {
				return fmt.Errorf("%d of %d", n, by)
			}
			return nil
		})
	}
	grows(200)
	leader := leaderOf(t, all)
	leader.Kill()
	grows(200)
	leader.Start()
	grows(200)
	for _, p := range all {
		testutil.Eventually(t, 30*time.Second, "a comparison of states", func() error { return agreed(p) })
	}
	stop()
	writers.Wait()

	for _, p := range all {
		p.Kill()
	}
	for _, p := range all {
		p.Start()
	}
	for _, p := range all {
		p.AwaitLeader()
		entries, _, err := p.Client().KV().List(context.Background(), "load/", &structs.QueryOptions{RequireConsistent: true})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, e := range entries {
			found[e.Key] = string(e.Value)
		}
		lost := 0
		for key, value := range acknowledged {
			if found[key] != value {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("server on port %d has lost %d of %d acknowledged writes", p.RPC, lost, len(acknowledged))
		}
	}
}

func TestSecondProcessOnTheSameDataDirectory(t *testing.T) {
	t.Parallel()
	first := testutil.NewProcess(t, "-bootstrap")
	first.Start()
	first.AwaitLeader()
	second := testutil.NewProcess(t, "-bootstrap")
	second.Dir = first.Dir
	second.Start()
	if code := second.Exit(20 * time.Second); code != 1 || !strings.Contains(second.Output(), "in use") {
		t.Errorf("got exit code %d and %q, want 1 and that the directory is in use", code, second.Output())
	}
	if err := first.Client().KV().Put(context.Background(), "k", []byte("v")); err != nil {
		t.Errorf("the first server is disturbed: %v", err)
	}
}

func TestStartRefusesADamagedLog(t *testing.T) {
	t.Parallel()
	p := testutil.NewProcess(t, "-bootstrap", "-hcl", `raft_logstore { backend = "boltdb" }`)
	p.Start()
	p.AwaitLeader()
	if err := p.Client().KV().Put(context.Background(), "k", []byte("the-value")); err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(20 * time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	file := filepath.Join(p.Dir, "raft", "raft.db")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"foreign":   []byte(strings.Repeat("this is not a raft log ", 10000)),
		"cut short": good[:len(good)/2],
		"one value": []byte(strings.ReplaceAll(string(good), "the-value", "the-valUe")),
	} {
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		p.Start()
		if code := p.Exit(20 * time.Second); code != 1 || !strings.Contains(p.Output(), "raft.db is damaged") {
			t.Errorf("%s: exit code %d, want 1 and a word about raft.db", name, code)
		}
		if out := p.Output(); strings.Contains(out, "goroutine ") || strings.Contains(out, "panic: ") {
			t.Errorf("%s: a stack trace: %s", name, out)
		}
		// What opens is written to by bbolt, which counts its openings; what is in it stays.
		after, _ := os.ReadFile(file)
		if opens := name == "one value"; string(after) != string(bad) && (!opens || !strings.Contains(string(after), "the-valUe")) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	p.Start()
	p.AwaitLeader()
	if e, _, err := p.Client().KV().Get(context.Background(), "k", nil); err != nil || e == nil || string(e.Value) != "the-value" {
		t.Errorf("with the good log back: got %v, %v", e, err)
	}
}

// A server with raft-wal that is killed in the middle of its work has all that it
// acknowledged, and goes on, wherever its segments ended.
func TestKilledWithWAL(t *testing.T) {
	t.Parallel()
	p := testutil.NewProcess(t, "-bootstrap", "-hcl", `raft_logstore { backend = "wal" wal { segment_size_mb = 1 } }`)
	value := []byte(strings.Repeat("v", 200<<10))
	for round := range 4 {
		p.Start()
		p.AwaitLeader()
		kv := p.Client().KV()
		for old := range round {
			for i := range 6 {
				got, _, err := kv.Get(context.Background(), fmt.Sprint(old, "/", i), nil)
				if err != nil || got == nil || string(got.Value) != string(value) {
					t.Fatalf("round %d: key %d/%d is not what it was: %v", round, old, i, err)
				}
			}
		}
		for i := range 6 { // fills more than a segment
			if err := kv.Put(context.Background(), fmt.Sprint(round, "/", i), value); err != nil {
				t.Fatal(err)
			}
		}
		p.Kill()
	}
}

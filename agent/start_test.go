package agent_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"praetor/agent"
	"praetor/agent/config"
	"praetor/structs"
	"praetor/testutil"
)

// settings loads the configuration of a quick cluster of one on free ports,
// with more settings in HCL.
func settings(t testing.TB, hcl ...string) *config.Runtime {
	t.Helper()
	r, err := tryLoad(append([]string{
		`server = true bootstrap = true bind_addr = "127.0.0.1" data_dir = "` + t.TempDir() + `"`}, hcl...)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryLoad(hcl ...string) (*config.Runtime, error) {
	flags := config.AddFlags(flag.NewFlagSet("agent", flag.ContinueOnError))
	flags.Host.Name = "node1"
	flags.HCL = hcl
	r, _, err := config.Load(flags)
	if err != nil {
		return nil, err
	}
	r.Ports.Server, r.Ports.SerfLAN = 0, 0
	if r.Ports.HTTP == 8500 {
		r.Ports.HTTP = 0
	}
	if r.Ports.HTTPS == 8501 {
		r.Ports.HTTPS = 0
	}
	r.Raft.HeartbeatTimeout, r.Raft.ElectionTimeout = 100*time.Millisecond, 100*time.Millisecond
	r.Raft.LeaderLeaseTimeout = 50 * time.Millisecond
	r.LeaveDrainTime = 10 * time.Millisecond
	return r, nil
}

// log is an agent's log; it is printed if the test fails.
type log struct {
	mu  sync.Mutex // guards the field below
	all bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *log) await(t testing.TB, want string) {
	t.Helper()
	testutil.Eventually(t, 20*time.Second, "a line in the log", func() error {
		if !strings.Contains(l.String(), want) {
			return fmt.Errorf("no %q", want)
		}
		return nil
	})
}

// started is a running agent.
type started struct {
	*agent.Agent
	log *log
}

// start starts an agent; one that may start a cluster leads it by then.
func start(t testing.TB, r *config.Runtime, options ...func(*agent.Options)) started {
	t.Helper()
	a := started{log: &log{}}
	o := agent.Options{LogOutput: a.log}
	for _, option := range options {
		option(&o)
	}
	var err error
	if a.Agent, err = agent.New(r, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Shutdown()
		if t.Failed() {
			t.Logf("log of %s:\n%s", r.NodeName, a.log)
		}
	})
	if !r.Bootstrap {
		return a
	}
	testutil.Eventually(t, 20*time.Second, "a leader", func() error {
		if !a.Server().IsLeader() {
			return structs.ErrNoLeader
		}
		return nil
	})
	return a
}

func (a started) put(t testing.TB, key, value string) {
	t.Helper()
	ok := false
	c := &structs.KVSRequest{Datacenter: "dc1", Op: structs.KVSet, DirEnt: structs.DirEntry{Key: key, Value: []byte(value)}}
	if err := a.Server().Call(t.Context(), "KV.Apply", c, &ok); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func (a started) get(t testing.TB, key string) string {
	t.Helper()
	var reply structs.IndexedDirEntries
	if err := a.Server().Call(t.Context(), "KV.Get", &structs.KeyRequest{Datacenter: "dc1", Key: key}, &reply); err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if len(reply.Entries) == 0 {
		return ""
	}
	return string(reply.Entries[0].Value)
}

// fetch returns status and body of a GET request.
func fetch(t testing.TB, client *http.Client, url string) (int, string) {
	t.Helper()
	reply, err := client.Get(url)
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

// taken returns a port of 127.0.0.1 that is in use.
func taken(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// free returns a port of 127.0.0.1 that was free a moment ago.
func free(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// wantError checks that an error holds a text.
func wantError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}

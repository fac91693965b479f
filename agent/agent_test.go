package agent_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"praetor/agent"
	"praetor/agent/config"
)

func TestMemoryAgentLivesAndStops(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	a := start(t, settings(t, `pid_file = "`+filepath.Join(t.TempDir(), "pid")+`"`), func(o *agent.Options) { o.Warnings = []string{"careful"} })
	a.put(t, "k", "v")
	if _, body := fetch(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, a.HTTPAddrs()[0]+"/v1/kv/k?raw"); body != "v" {
		t.Errorf("got %q over HTTP, want v", body)
	}
	a.LogRunning()
	for _, want := range []string{"[INFO]  agent: Praetor agent running!", "[WARN]  agent: careful", "agent.server", "agent.raft"} {
		if !strings.Contains(a.log.String(), want) {
			t.Errorf("log lacks %q", want)
		}
	}
	for range 2 {
		if err := a.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	if err := a.Leave(); err == nil {
		t.Error("a stopped agent leaves")
	}
	goleak.VerifyNone(t, leaks)
}

func TestDiskAgentRemembers(t *testing.T) {
	t.Parallel()
	r := settings(t)
	a := start(t, r)
	id := a.NodeID()
	a.put(t, "k", "v")
	if err := a.Shutdown(); err != nil {
		t.Fatal(err)
	}
	a = start(t, r)
	if got := a.get(t, "k"); got != "v" || a.NodeID() != id {
		t.Errorf("after a restart: got %q as %s, want v as %s", got, a.NodeID(), id)
	}
}

func TestLeaveStopsTheAgent(t *testing.T) {
	t.Parallel()
	a := start(t, settings(t))
	for range 2 {
		if err := a.Leave(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Wait(); err != nil {
		t.Error(err)
	}
}

// What cannot start says why in one sentence, and leaves nothing behind.
func TestFailedNew(t *testing.T) {
	busy := taken(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	junk := write("junk.pem", "junk")
	for _, tt := range []struct {
		name, hcl string
		change    func(*config.Runtime)
		want      string
	}{
		{"http port", fmt.Sprintf("ports { http = %d }", busy), nil, fmt.Sprintf("port %d at 127.0.0.1 is in use by another process: stop it, or change ports.http", busy)},
		{"rpc port", "", func(r *config.Runtime) { r.Ports.Server = busy }, "ports.server"},
		{"gossip port", "", func(r *config.Runtime) { r.Ports.SerfLAN = busy }, "ports.serf_lan"},
		{"foreign address", `client_addr = "192.0.2.1"`, nil, "this machine has no address 192.0.2.1"},
		{"data dir is a file", `data_dir = "` + junk + `"`, nil, "is not a directory"},
		{"data dir below a file", `data_dir = "` + junk + `/data"`, nil, "is not a directory"},
		{"pid file", `pid_file = "` + dir + `/nowhere/pid"`, nil, "pid_file"},
		{"certificate", `tls { https { cert_file = "` + junk + `" key_file = "` + junk + `" } }`, nil, "tls.https.cert_file " + junk},
		{"authority", `tls { internal_rpc { ca_file = "` + junk + `" } }`, nil, "tls.internal_rpc.ca_file: " + junk + " holds no certificate"},
		{"no authority", `tls { defaults { ca_path = "` + t.TempDir() + `" } }`, nil, "ca_path: no files in"},
		{"log file", `log_file = "` + junk + `/x/log"`, nil, "log_file"},
		{"socket", `addresses { http = "unix://` + junk + `" }`, nil, "not a socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			r := settings(t, tt.hcl)
			if tt.change != nil {
				tt.change(r)
			}
			a, err := agent.New(r, agent.Options{})
			wantError(t, err, tt.want)
			if err := a.Shutdown(); err != nil {
				t.Error(err)
			}
			if tt.name != "gossip port" { // serf leaves goroutines behind when it cannot start
				goleak.VerifyNone(t, leaks)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than a sentence", err)
			}
		})
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	r := settings(t)
	var next string
	base := fmt.Sprintf(`server = true bootstrap = true bind_addr = "127.0.0.1" data_dir = %q `, r.DataDir)
	a := start(t, r, func(o *agent.Options) {
		o.Load = func() (*config.Runtime, []string, error) {
			r, err := tryLoad(base + next)
			return r, []string{"hear me"}, err
		}
	})

	next = `log_level = "debug" raft_trailing_logs = 77 limits { kv_max_value_size = 7 http_max_conns_per_client = 99 }
		http_config { response_headers { X-New = "yes" } } ports { https = 9999 }`
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	reply, err := http.Get(a.HTTPAddrs()[0] + "/v1/status/leader")
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if reply.Header.Get("X-New") != "yes" {
		t.Errorf("got headers %v", reply.Header)
	}
	if got := a.Server().Config().Limits; got.KVMaxValueSize != 7 {
		t.Errorf("got limits %+v", got)
	}
	if got := a.Server().Raft().ReloadableConfig().TrailingLogs; got != 77 {
		t.Errorf("got %d trailing logs", got)
	}
	for _, want := range []string{"hear me", "waits for a restart: key=ports.https", "log_level"} {
		a.log.await(t, want)
	}
	if strings.Contains(a.log.String(), "key=node_id") {
		t.Error("an id from the data directory is no change")
	}

	next = `log_level = "loud"`
	wantError(t, a.Reload(), "log_level")
	a.log.await(t, "reload refused, nothing has changed")
	if got := a.Server().Config().Limits; got.KVMaxValueSize != 7 {
		t.Errorf("got limits %+v", got)
	}
	next = ""
	if err := a.Reload(); err != nil {
		t.Error(err)
	}
	if got := a.Server().Config().Limits; got.KVMaxValueSize != 512<<10 {
		t.Errorf("got limits %+v", got)
	}
}

func TestReloadWithoutSource(t *testing.T) {
	t.Parallel()
	wantError(t, start(t, settings(t)).Reload(), "not started from a configuration")
}

func TestSummary(t *testing.T) {
	t.Parallel()
	summary := ""
	a := start(t, settings(t), func(o *agent.Options) {
		o.Announce = func(a *agent.Agent) { summary = a.Summary() }
	})
	for _, want := range []string{agent.Version, a.NodeID(), "node1", "dc1", a.HTTPAddrs()[0]} {
		if !strings.Contains(summary, want) {
			t.Errorf("%s\nlacks %q", summary, want)
		}
	}
}

func TestRetryJoin(t *testing.T) {
	t.Parallel()
	first := start(t, settings(t))
	port := int(first.Server().LocalMember().Port)
	second := settings(t, fmt.Sprintf(`bootstrap = false node_name = "node2" retry_interval = "50ms" retry_join = ["127.0.0.1:%d", "127.0.0.1:%d"]`, free(t), port))
	a := start(t, second)
	a.log.await(t, "joined: members=2")
	first.put(t, "k", "v")
	if got := a.get(t, "k"); got != "v" {
		t.Errorf("got %q from the second server", got)
	}
}

// Its own address is no server to join; retry_max counts real failures.
func TestRetryJoinGivesUp(t *testing.T) {
	t.Parallel()
	r := settings(t, fmt.Sprintf(`bootstrap = false retry_interval = "10ms" retry_max = 2 retry_join = ["127.0.0.1:%d"]`, free(t)))
	r.Ports.SerfLAN = free(t)
	r.RetryJoin = append(r.RetryJoin, fmt.Sprintf("127.0.0.1:%d", r.Ports.SerfLAN), "localhost")
	a := start(t, r)
	wantError(t, a.Wait(), "no server of retry_join (-retry-join) answered in 2 attempts")
	if n := strings.Count(a.log.String(), "cannot join"); n != 1 {
		t.Errorf("got %d warnings of one address, want 1", n)
	}
}

func TestRetryJoinOfItselfGoesOn(t *testing.T) {
	t.Parallel()
	r := settings(t, `retry_interval = "10ms" retry_max = 2`)
	r.Ports.SerfLAN = free(t)
	r.RetryJoin = []string{"127.0.0.1"}
	a := start(t, r)
	select {
	case <-a.Done():
		t.Errorf("stopped: %v", a.Wait())
	case <-time.After(100 * time.Millisecond):
	}
	if strings.Contains(a.log.String(), "joined") {
		t.Error("joined itself")
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR"} {
		if hclog.LevelFromString(level) == hclog.NoLevel {
			t.Errorf("hclog does not know %s", level)
		}
	}
}

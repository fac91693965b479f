package agent_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"praetor/agent"
	"praetor/agent/config"
)

func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()

	hcl := `addresses { http = "127.0.0.1 unix://` + path + `" } unix_sockets { mode = "0640" }`
	a := start(t, settings(t, hcl))
	if status, body := fetch(t, unixClient(path), "http://socket/v1/status/peers"); status != 200 {
		t.Errorf("got %d %s", status, body)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v", info, err)
	}
	if got := a.HTTPAddrs(); len(got) != 2 || got[1] != "unix://"+path {
		t.Errorf("got addresses %q", got)
	}
	_, err = agent.New(settings(t, hcl), agent.Options{})
	wantError(t, err, "another process listens there")
	if status, _ := fetch(t, unixClient(path), "http://socket/v1/status/peers"); status != 200 {
		t.Errorf("got %d after another agent tried", status)
	}
	if err := a.Shutdown(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("socket after the end: %v", err)
	}
}

func TestConnectionsPerClient(t *testing.T) {
	t.Parallel()
	limit := "2"
	load := func() (*config.Runtime, []string, error) {
		r, err := tryLoad(`server = true bootstrap = true bind_addr = "127.0.0.1" data_dir = "/x" limits { http_max_conns_per_client = ` + limit + ` }`)
		return r, nil, err
	}
	a := start(t, settings(t, "limits { http_max_conns_per_client = 2 }"), func(o *agent.Options) { o.Load = load })
	addr := strings.TrimPrefix(a.HTTPAddrs()[0], "http://")
	ask := func(conn net.Conn) string {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
		buf := make([]byte, 4096)
		n, _ := io.ReadAtLeast(conn, buf, 12)
		return string(buf[:n])
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	first, second := dial(), dial()
	for _, conn := range []net.Conn{first, second} {
		if got := ask(conn); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("within the limit: got %q", got)
		}
	}
	if got := ask(dial()); !strings.HasPrefix(got, "HTTP/1.1 429") || !strings.HasSuffix(got, "\r\n\r\nYour IP is issuing too many concurrent connections, please rate limit your calls\n") {
		t.Errorf("over the limit: got %q", got)
	}
	limit = "3"
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	third := dial()
	if got := ask(third); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("after a reload: got %q", got)
	}
	first.Close()
	waitFor(t, func() bool { return strings.HasPrefix(ask(dial()), "HTTP/1.1 200") })
}

// A query that waits ends with the agent, and the reply still comes.
func TestBlockingQueryEndsWithTheAgent(t *testing.T) {
	t.Parallel()
	a := start(t, settings(t))
	a.put(t, "k", "v")
	answered := make(chan error, 1)
	go func() {
		reply, err := http.Get(a.HTTPAddrs()[0] + "/v1/kv/k?index=1000000&wait=10m")
		if err == nil {
			reply.Body.Close()
		}
		answered <- err
	}()
	time.Sleep(100 * time.Millisecond) // for the query to arrive: no harm if it does not
	begin := time.Now()
	if err := a.Shutdown(); err != nil {
		t.Error(err)
	}
	select {
	case <-answered:
	case <-time.After(10 * time.Second):
		t.Error("the query is still waiting")
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("took %v to stop", took)
	}
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

package testutil_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"praetor/testutil"
)

// What clients did to Consul 1.21.4 and must not do to us, on a server that is
// a process of its own: what it holds is the operating system's word.
func TestFaultsSeenInConsul(t *testing.T) {
	t.Parallel()
	p := testutil.NewProcess(t, "-bootstrap", "-hcl", "limits { http_max_conns_per_client = 2000 }")
	p.Start()
	p.AwaitLeader()
	t.Run("blocked queries that are left", func(t *testing.T) { blockedQueriesThatAreLeft(t, p) })
	t.Run("a filter of 20,000 brackets", func(t *testing.T) { filterOfBrackets(t, p) })
	t.Run("a transaction of nulls", func(t *testing.T) { transactionOfNulls(t, p) })
	t.Run("a session name of 20 MB", func(t *testing.T) { hugeSessionName(t, p) })
	t.Run("a key with two slashes", func(t *testing.T) { keyWithTwoSlashes(t, p) })
}

// holdings are a server's descriptors and goroutines.
func holdings(t *testing.T, p *testutil.Process) (descriptors, goroutines int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		t.Skipf("this system does not tell what a process holds: %v", err)
	}
	var self struct {
		Stats struct{ Runtime map[string]string }
	}
	body := request(t, p, "GET", "/v1/agent/self", "")
	if err := json.Unmarshal([]byte(body), &self); err != nil {
		t.Fatal(err)
	}
	goroutines, err = strconv.Atoi(self.Stats.Runtime["goroutines"])
	if err != nil {
		t.Fatal(err)
	}
	return len(entries), goroutines
}

// request does one over a connection of its own, which is to succeed.
func request(t *testing.T, p *testutil.Process, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+p.HTTPAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s %s: %d %s, %v", method, path, resp.StatusCode, text, err)
	}
	return string(text)
}

// In Consul they hold a descriptor and two goroutines until their wait ends.
func blockedQueriesThatAreLeft(t *testing.T, p *testutil.Process) {
	const callers = 300
	descriptors, goroutines := holdings(t, p)
	conns := make([]net.Conn, callers)
	for i := range conns {
		conn, err := net.Dial("tcp", p.HTTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
		how := []string{"", "&consistent", "&stale"}[i%3]
		fmt.Fprintf(conn, "GET /v1/kv/blocked?index=100000000&wait=10m%s HTTP/1.1\r\nHost: x\r\n\r\n", how)
	}
	testutil.Eventually(t, 20*time.Second, "blocked queries", func() error {
		if fds, routines := holdings(t, p); fds < descriptors+callers || routines < goroutines+callers {
			return fmt.Errorf("%d descriptors and %d goroutines, before %d and %d", fds, routines, descriptors, goroutines)
		}
		return nil
	})
	for _, conn := range conns {
		conn.Close()
	}
	left := time.Now()
	testutil.Eventually(t, 10*time.Second, "what they held to be given back", func() error {
		const slack = 10 // others come and go
		if fds, routines := holdings(t, p); fds > descriptors+slack || routines > goroutines+slack {
			return fmt.Errorf("%d descriptors and %d goroutines, before %d and %d", fds, routines, descriptors, goroutines)
		}
		return nil
	})
	t.Logf("given back after %v", time.Since(left)) // a second on a quiet machine
}

// cpu is the time that a process has computed for.
func cpu(t *testing.T, p *testutil.Process) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Skipf("this system does not tell what a process computes: %v", err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	system, again := strconv.Atoi(fields[12])
	if err := errors.Join(err, again); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// In Consul it keeps a core busy for 20 s after its client has left.
func filterOfBrackets(t *testing.T, p *testutil.Process) {
	before := cpu(t, p)
	resp, err := http.Get("http://" + p.HTTPAddr() + "/v1/catalog/nodes?filter=" + url.QueryEscape(strings.Repeat("(", 20_000)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("status %d", resp.StatusCode)
	}
	time.Sleep(time.Second)
	if used := cpu(t, p) - before; used > 5*time.Second {
		t.Errorf("it took %v of CPU time", used)
	}
}

// In Consul it drops the connection.
func transactionOfNulls(t *testing.T, p *testutil.Process) {
	conn, err := net.Dial("tcp", p.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	for _, want := range []int{400, 400, 200} {
		body := map[int]string{400: "[null,null]", 200: "[]"}[want]
		fmt.Fprintf(conn, "PUT /v1/txn HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != want || resp.Close {
			t.Errorf("%s: status %d, closes the connection: %v", body, resp.StatusCode, resp.Close)
		}
	}
}

// In Consul it is accepted, and goes into the log and all snapshots.
func hugeSessionName(t *testing.T, p *testutil.Process) {
	name := strings.Repeat("n", 20_000_000)
	req, err := http.NewRequest("PUT", "http://"+p.HTTPAddr()+"/v1/session/create", strings.NewReader(`{"Name":"`+name+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	// Whoever is refused before all is sent may see an error instead of the answer.
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d, want 413", resp.StatusCode)
		}
	}
	if sessions := request(t, p, "GET", "/v1/session/list", ""); sessions != "[]" {
		t.Errorf("sessions: %.100s", sessions)
	}
}

// In Consul it is stored as another key.
func keyWithTwoSlashes(t *testing.T, p *testutil.Process) {
	request(t, p, "PUT", "/v1/kv/dbl//slash", "raw")
	c, err := api.NewClient(&api.Config{Address: p.HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	if pair, _, err := c.KV().Get("dbl//slash", nil); err != nil || pair == nil || pair.Key != "dbl//slash" || string(pair.Value) != "raw" {
		t.Errorf("put over HTTP, got through the client: %v, %v", pair, err)
	}
	if _, err := c.KV().Put(&api.KVPair{Key: "dbl//client", Value: []byte("client")}, nil); err != nil {
		t.Fatal(err)
	}
	if got := request(t, p, "GET", "/v1/kv/dbl//client?raw", ""); got != "client" {
		t.Errorf("put through the client, got over HTTP: %q", got)
	}
	if keys, _, err := c.KV().Keys("dbl/", "", nil); err != nil || strings.Join(keys, " ") != "dbl//client dbl//slash" {
		t.Errorf("keys %q, %v", keys, err)
	}
	if pair, _, err := c.KV().Get("dbl/slash", nil); err != nil || pair != nil {
		t.Errorf("there is another key: %v, %v", pair, err)
	}
}

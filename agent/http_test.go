package agent

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
	"praetor/rpcserver"
	"praetor/testutil"
)

// testAPI is the HTTP API of a server by itself, in memory.
type testAPI struct {
	t       testing.TB
	agent   *Agent
	handler http.Handler
}

// newTestAPI starts a server and waits until it leads. A nil change keeps the
// default configuration.
func newTestAPI(t testing.TB, change func(*config.Runtime)) *testAPI {
	t.Helper()
	settings := testSettings()
	if change != nil {
		change(settings)
	}
	c := rpcserver.DefaultConfig()
	c.NodeName, c.NodeID = "node-a", "7b5a4b1c-0000-0000-0000-000000000001"
	c.Build = "1.2.3"
	c.Bootstrap = true
	c.RPCPort, c.SerfPort = 0, 0
	c.Raft.HeartbeatTimeout, c.Raft.ElectionTimeout, c.Raft.LeaderLeaseTimeout =
		50*time.Millisecond, 50*time.Millisecond, 30*time.Millisecond
	c.Limits.KVMaxValueSize, c.Limits.TxnMaxReqLen, c.Limits.TxnMaxOps =
		settings.Limits.KVMaxValueSize, settings.Limits.TxnMaxReqLen, settings.Limits.TxnMaxOps
	c.Logger = hclog.NewNullLogger()
	a := &Agent{config: settings, logger: hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard})}
	c.UserEvent, c.DisableCoordinates = a.userEvent, settings.DisableCoordinates
	c.CoordinateSendEvery, c.CoordinateWriteEvery = time.Hour, 20*time.Millisecond
	server, err := rpcserver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Shutdown() })
	testutil.Eventually(t, 20*time.Second, "a leader", func() error {
		if !server.IsLeader() {
			return errors.New("not leading")
		}
		return nil
	})
	m, err := newMetrics(settings.Telemetry, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	a.server, a.metrics = server, m
	a.left, a.stopped = make(chan struct{}), make(chan struct{})
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if err := a.startLocal(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.cancel()
		a.tasks.Wait()
		a.local.close()
	})
	testutil.Eventually(t, 20*time.Second, "all of this node in the catalog", func() error { // tests count entries of the log
		if node := server.FSM().Store().Read().Node(settings.NodeName); node == nil || node.TaggedAddresses == nil {
			return errors.New("the agent has not told it of itself")
		}
		return nil
	})
	return &testAPI{t: t, agent: a, handler: a.handler()}
}

func testSettings() *config.Runtime {
	return &config.Runtime{
		Datacenter: "dc1", NodeName: "node-a", BindAddr: "127.0.0.1", Encrypt: "secret",
		Limits:    config.Limits{KVMaxValueSize: 512 << 10, TxnMaxReqLen: 512 << 10, TxnMaxOps: 128, WatchHistorySize: 32 << 20},
		Checks:    config.Checks{OutputMaxSize: 4096, UpdateInterval: 5 * time.Minute},
		Telemetry: config.Telemetry{MetricsPrefix: "consul", FilterDefault: true},
	}
}

// reply is what came back, for comparing.
type reply struct {
	status int
	body   string
	header http.Header
}

// do sends a request to the handler; headers are name, value, name, value.
func (a *testAPI) do(method, target, body string, headers ...string) reply {
	a.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return a.send(r)
}

func (a *testAPI) send(r *http.Request) reply {
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	return reply{w.Code, w.Body.String(), w.Result().Header}
}

func (a *testAPI) put(key, value string) {
	a.t.Helper()
	if got := a.do("PUT", "/v1/kv/"+key, value); got.status != 200 || got.body != "true" {
		a.t.Fatalf("PUT %s: got %d %s", key, got.status, got.body)
	}
}

// listen serves the API on a real socket.
func (a *testAPI) listen() *httptest.Server {
	server := httptest.NewServer(a.handler)
	a.t.Cleanup(func() {
		server.CloseClientConnections() // the client's Monitor only looks up when a line comes
		server.Close()
	})
	return server
}

func (a *testAPI) client() *api.Client {
	a.t.Helper()
	c, err := api.NewClient(&api.Config{Address: a.listen().URL})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

const notAnEndpoint = "Invalid URL path: not a recognized HTTP API endpoint\n"

func TestAnswers(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("foo/bar", "hello")
	for _, test := range []struct {
		request string // method, target, body
		status  int
		body    string
	}{
		{"GET /v1/nope", 404, notAnEndpoint},
		{"GET /v1/status/leader/x", 404, notAnEndpoint},
		{"GET /nope", 404, "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"},
		{"GET /debug/pprof/", 404, "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"},
		{"GET /", 200, textRoot},
		{"POST /v1/kv/foo", 405, "method POST not allowed"},
		{"HEAD /v1/kv/foo", 405, "method HEAD not allowed"},
		{"OPTIONS /v1/kv/foo", 200, ""},
		{"GET /v1/kv/foo?index=x", 400, "Invalid index"},
		{"GET /v1/kv/foo?index=1&wait=10", 400, "Invalid wait time"},
		{"GET /v1/kv/foo?max_stale=zz", 400, `Invalid max_stale value "zz"`},
		{"GET /v1/kv/foo?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."},
		{"GET /v1/kv/foo?cached&consistent", 400, "Cannot specify ?cached with ?consistent, conflicting semantics."},
		{"GET /v1/kv/foo?ns=default", 400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`},
		{"GET /v1/kv/foo?partition=default", 400, `Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`},
		{"GET /v1/kv/foo?raw=%zz", 500, ""},
		{"GET /v1/kv/foo?dc=nowhere", 500, "No path to datacenter"},
		{"GET /v1/kv/foo?dc=dc1&datacenter=nowhere", 500, "No path to datacenter"},
		{"GET /v1/kv/foo/bar?raw&dc=dc1", 200, "hello"},
		{"PUT /v1/kv/foo?dc=nowhere x", 500, "No path to datacenter"},
		{"GET /v1/status/leader?dc=nowhere", 500, "No path to datacenter"},
		{"GET /v1/kv/a%00b", 400, ""},
		{"GET /v1/acl/tokens", 401, "ACL support disabled"},
		{"PUT /v1/acl/bootstrap", 401, "ACL support disabled"},
		{"PUT /v1/agent/token/agent {}", 401, "ACL support disabled"},
		{"GET /v1/connect/ca/roots", 501, noMesh(nil).Error()},
		{"GET /v1/agent/connect/ca/roots", 501, noMesh(nil).Error()},
		{"PUT /v1/config {}", 501, noMesh(nil).Error()},
		{"GET /v1/peerings", 501, noPeering(nil).Error()},
		{"GET /v1/agent/members?wan=1", 501, errNoWAN.Error()},
		{"GET /v1/agent/members?segment=x", 500, "Network segments are not supported in this version of Consul"},
		{"PUT /v1/agent/force-leave/x", 500, "agent: No node found with name 'x'"},
		{"PUT /v1/agent/force-leave/node-a", 200, ""},
		{"GET /v1/agent/monitor?loglevel=zz", 400, "Unknown log level: zz"},
		{"DELETE /v1/operator/raft/peer", 400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"},
		{"DELETE /v1/operator/raft/peer?id=a&address=b", 400, "Must specify only one of ?id or ?address"},
		{"DELETE /v1/operator/raft/peer?id=nope", 500, `id "nope" was not found in the Raft configuration`},
		{"DELETE /v1/operator/raft/peer?address=nope", 500, `address "nope" was not found in the Raft configuration`},
		{"PUT /v1/operator/raft/peer?id=x", 400, "Must specify both ?id with the server's ID and ?address with IP:port of peer to add"},
		{"PUT /v1/operator/raft/promote?id=nope", 500, `id "nope" was not found in the Raft configuration`},
		{"PUT /v1/operator/raft/demote", 400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to demote"},
		{"POST /v1/operator/raft/transfer-leader", 500, "cannot find peer"},
		{"POST /v1/operator/raft/transfer-leader?id=zz", 500, "Could not find address for server id zz"},
		{"PUT /v1/operator/autopilot/configuration?cas=x {}", 400, `Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax`},
		{"PUT /v1/operator/autopilot/configuration {", 400, "Error parsing autopilot config: unexpected EOF"},
		{"PUT /v1/operator/autopilot/configuration?cas=1 {}", 200, "false"},
		{"PUT /v1/snapshot junk", 500, "failed to decompress snapshot: gzip: invalid header (not a gzip file)"},
	} {
		method, rest, _ := strings.Cut(test.request, " ")
		target, body, _ := strings.Cut(rest, " ")
		got := a.do(method, target, body)
		if got.status != test.status || got.body != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.request, got.status, got.body, test.status, test.body)
		}
		if strings.HasPrefix(target, "/v1/") && test.request != "GET /v1/kv/a%00b" && got.header.Get("X-Consul-Default-Acl-Policy") != "allow" {
			t.Errorf("%s: got no X-Consul-Default-ACL-Policy", test.request)
		}
		if got.status >= 400 && got.body != "" && got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: got Content-Type %q", test.request, got.header.Get("Content-Type"))
		}
	}
}

// Every row of the table answers, with the Allow header it should have.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	allow := map[string]string{}
	for _, r := range routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		if allow[path] == "" {
			allow[path] = "OPTIONS"
		}
		allow[path] += "," + method
	}
	for _, r := range routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		if a.handler.(*httpAPI).router.find(path).path != path {
			t.Errorf("%s: another row stands in front of it", r.pattern)
		}
		if method == "*" {
			if got := a.do("GET", path, ""); got.status != 401 && got.status != 501 && path != "/debug/pprof/" {
				t.Errorf("GET %s: got %d, want a refusal", path, got.status)
			}
			continue
		}
		if got := a.do("OPTIONS", path, ""); got.status != 200 || got.header.Get("Allow") != allow[path] {
			t.Errorf("OPTIONS %s: got %d, Allow %q, want %q", path, got.status, got.header.Get("Allow"), allow[path])
		}
		if got := a.do("PATCH", path, ""); got.status != 405 || got.header.Get("Allow") != allow[path] {
			t.Errorf("PATCH %s: got %d, Allow %q, want %q", path, got.status, got.header.Get("Allow"), allow[path])
		}
		if path == "/v1/agent/leave" {
			continue // TestClientLeave
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		got := a.send(httptest.NewRequest(method, path, strings.NewReader("")).WithContext(ctx))
		cancel()
		if got.status == 404 || got.status == 405 {
			t.Errorf("%s: got %d", r.pattern, got.status)
		}
	}
	if got, want := a.do("PATCH", "/v1/kv/x", "").header.Get("Allow"), "OPTIONS,GET,PUT,DELETE"; got != want {
		t.Errorf("Allow of /v1/kv/: got %q, want %q", got, want)
	}
}

func TestPathCleaning(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	for from, to := range map[string]string{
		"/v1/kv":                   "/v1/kv/",
		"/v1/kv?recurse":           "/v1/kv/?recurse",
		"/v1//status/leader":       "/v1/status/leader",
		"/v1/a/../status/leader":   "/v1/status/leader",
		"/v1/agent/force-leave":    "/v1/agent/force-leave/",
		"/v1/agent/join/a//b":      "/v1/agent/join/a/b",
		"/v1/status/leader/../x?y": "/v1/status/x?y",
	} {
		if got := a.do("GET", from, ""); got.status != 307 || got.header.Get("Location") != to {
			t.Errorf("GET %s: got %d to %q, want 307 to %q", from, got.status, got.header.Get("Location"), to)
		}
		if got := a.do("PUT", from, ""); got.status != 307 || got.body != "" {
			t.Errorf("PUT %s: got %d %q, want an empty 307", from, got.status, got.body)
		}
	}
	// Cleaning these would make them another key.
	for _, path := range []string{"/v1//kv/a//b", "/v1/x/../kv/a"} {
		if got := a.do("GET", path, ""); got.status != 404 {
			t.Errorf("GET %s: got %d, want 404", path, got.status)
		}
	}
	if got := a.do("GET", "/v1/status/leader/", ""); got.status != 404 {
		t.Errorf("GET /v1/status/leader/: got %d, want 404", got.status)
	}
}

func TestAccessRules(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, func(r *config.Runtime) {
		r.HTTPConfig.AllowWriteHTTPFrom = []string{"10.0.0.0/8"}
		r.HTTPConfig.BlockEndpoints = []string{"/v1/agent/self"}
		r.HTTPConfig.ResponseHeaders = map[string]string{"access-control-allow-origin": "*"}
		r.DisableHTTPUnprintableCharFilter = true
	})
	for _, test := range []struct {
		method, path, from string
		status             int
		body               string
	}{
		{"PUT", "/v1/kv/a", "10.1.2.3:4", 200, "true"},
		{"PUT", "/v1/kv/a", "[::ffff:10.1.2.3]:4", 200, "true"},
		{"PUT", "/v1/kv/a", "11.1.2.3:4", 403, "Access is restricted"},
		{"DELETE", "/v1/kv/a", "@", 403, "Access is restricted"},
		{"GET", "/v1/kv/a?raw", "11.1.2.3:4", 200, ""},
		{"GET", "/v1/agent/self", "11.1.2.3:4", 403, "Endpoint is blocked by agent configuration"},
		{"GET", "/v1/kv/a%00b", "11.1.2.3:4", 404, ""},
		{"GET", "/nope", "11.1.2.3:4", 404, textNotV1},
	} {
		r := httptest.NewRequest(test.method, test.path, nil)
		r.RemoteAddr = test.from
		got := a.send(r)
		if got.status != test.status || got.body != test.body {
			t.Errorf("%s %s from %s: got %d %q, want %d %q", test.method, test.path, test.from, got.status, got.body, test.status, test.body)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: configured header is missing", test.method, test.path)
		}
	}
}

func TestCacheControl(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	for value, status := range map[string]int{
		"max-age=60": 404, "Must-Revalidate, stale-if-error=5": 404, "no-cache": 404, "max-age=x": 400,
	} {
		if got := a.do("GET", "/v1/kv/none", "", "Cache-Control", value); got.status != status {
			t.Errorf("Cache-Control: %s: got %d %s, want %d", value, got.status, got.body, status)
		}
	}
	if got := a.do("PUT", "/v1/kv/x", "", "X-Consul-Namespace", "team"); got.status != 400 {
		t.Errorf("with a namespace: got %d, want 400", got.status)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	large := strings.Repeat("0123456789", 1000)
	a.put("large", large)
	a.put("small", "x")
	for _, test := range []struct {
		path, accept string
		want         bool
	}{
		{"/v1/kv/large?raw", "gzip", true},
		{"/v1/kv/large?raw", "deflate, gzip;q=0.5", true},
		{"/v1/kv/large?raw", "gzip;q=0", false},
		{"/v1/kv/large?raw", "", false},
		{"/v1/kv/small?raw", "gzip", false},
	} {
		got := a.do("GET", test.path, "", "Accept-Encoding", test.accept)
		if zipped := got.header.Get("Content-Encoding") == "gzip"; zipped != test.want {
			t.Errorf("%s, Accept-Encoding %q: got gzip %t", test.path, test.accept, zipped)
		}
		if got.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: got Vary %q", test.path, got.header.Get("Vary"))
		}
		if !test.want {
			continue
		}
		z, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != large {
			t.Errorf("%s: got %d bytes back, %v", test.path, len(text), err)
		}
	}
}

func TestPretty(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "v")
	got := a.do("GET", "/v1/kv/?keys&pretty", "").body
	if want := "[\n    \"k\"\n]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.agent.config.Dev = true
	if got, want := a.do("GET", "/v1/kv/?keys", "").body, "[\n    \"k\"\n]"; got != want {
		t.Errorf("in dev mode: got %q, want %q", got, want)
	}
}

// Bodies over the limit are refused without being read, and end the connection.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, func(r *config.Runtime) { r.Limits.KVMaxValueSize = 1000 })
	server := a.listen()
	for name, body := range map[string]io.Reader{
		"with a length": bytes.NewReader(make([]byte, 1001)),
		"in chunks":     io.MultiReader(bytes.NewReader(make([]byte, 1001))),
	} {
		r, err := http.NewRequest("PUT", server.URL+"/v1/kv/k", body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(got.Body)
		got.Body.Close()
		if got.StatusCode != 413 || !strings.Contains(string(text), "max size: 1000 bytes. See limits.kv_max_value_size.") || !got.Close {
			t.Errorf("%s: got %d %s, connection closes: %t", name, got.StatusCode, text, got.Close)
		}
	}
	a.put("k", strings.Repeat("x", 1000))
}

func TestBlockingQuery(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "1")
	index := a.do("GET", "/v1/kv/k", "").header.Get("X-Consul-Index")
	woken := make(chan reply)
	go func() { woken <- a.do("GET", "/v1/kv/k?raw&wait=1m&index="+index, "") }()
	time.Sleep(20 * time.Millisecond)
	a.put("other", "x")
	select {
	case got := <-woken:
		t.Fatalf("woken by another key: %v", got)
	case <-time.After(50 * time.Millisecond):
	}
	a.put("k", "2")
	if got := <-woken; got.body != "2" || got.header.Get("X-Consul-Index") == index {
		t.Errorf("got %q at index %s", got.body, got.header.Get("X-Consul-Index"))
	}

	start := time.Now()
	got := a.do("GET", "/v1/kv/none?wait=50ms&index=100000", "")
	if got.status != 404 || time.Since(start) < 50*time.Millisecond || time.Since(start) > 30*time.Second {
		t.Errorf("time-out: got %d after %s", got.status, time.Since(start))
	}
}

// A client that hangs up costs nothing from then on, and is written nothing.
func TestHangUp(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	left := make(chan *httptest.ResponseRecorder, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, r)
		left <- w
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /v1/kv/k?index=100000&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	conn.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler still waits")
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, httptest.NewRequest("GET", "/v1/kv/k?dc=nowhere", nil).WithContext(ctx))
	if w.Body.Len() != 0 {
		t.Errorf("wrote %q to a client that has gone", w.Body)
	}
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	server := a.listen()
	for query, want := range map[string]string{"": "[INFO]  hello", "?logjson": `"@message":"hello"`} {
		r, err := http.Get(server.URL + "/v1/agent/monitor" + query)
		if err != nil {
			t.Fatal(err)
		}
		a.agent.logger.Debug("not this")
		a.agent.logger.Info("hello")
		line, err := bufio.NewReader(r.Body).ReadString('\n')
		r.Body.Close()
		if err != nil || !strings.Contains(line, want) {
			t.Errorf("monitor%s: got %q, %v, want %q", query, line, err, want)
		}
	}
}

package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"praetor/agent/config"
	"praetor/structs"
	"praetor/testutil"
)

// stream is a feed as a client sees it.
type stream struct {
	t      testing.TB
	header http.Header
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (a *testAPI) feed(url, target string, headers ...string) *stream {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	a.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/v1/watch/kv/"+target, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { reply.Body.Close() })
	if reply.StatusCode != 200 {
		text, _ := io.ReadAll(reply.Body)
		a.t.Fatalf("%s: got %d %s", target, reply.StatusCode, text)
	}
	return &stream{a.t, reply.Header, bufio.NewReader(reply.Body), cancel}
}

func (s *stream) line() string {
	s.t.Helper()
	line, err := s.lines.ReadString('\n')
	if err != nil {
		s.t.Fatalf("got %q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// until reads lines up to one that has the text in it.
func (s *stream) until(text string) (lines []string) {
	s.t.Helper()
	for {
		lines = append(lines, s.line())
		if strings.Contains(lines[len(lines)-1], text) {
			return lines
		}
	}
}

// want compares the next lines; N stands for the index that base is.
func (s *stream) want(base uint64, lines ...string) {
	s.t.Helper()
	for _, want := range lines {
		for i := 9; i >= 0; i-- {
			want = strings.ReplaceAll(want, fmt.Sprintf("N+%d", i), fmt.Sprint(base+uint64(i)))
		}
		if got := s.line(); got != want {
			s.t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func (a *testAPI) applied() uint64 { return a.agent.server.FSM().Store().Applied() }

func TestFeedLines(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	url := a.listen().URL
	a.put("app/a", "1")
	base := a.applied()
	a.put("app/b?flags=7", "")
	a.put("other", "x")
	s := a.feed(url, "app/")
	for name, want := range map[string]string{
		"Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "X-Consul-Index": fmt.Sprint(base + 2),
		"X-Consul-Knownleader": "true", "X-Consul-Lastcontact": "0", "X-Consul-Default-Acl-Policy": "allow",
	} {
		if got := s.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	s.want(base,
		`{"Type":"reset","Index":N+2,"Reason":"the feed starts here","Epoch":"`+a.agent.server.Epoch()+`"}`,
		`{"Type":"put","Key":"app/a","Value":"MQ==","Flags":0,"LockIndex":0,"CreateIndex":N+0,"ModifyIndex":N+0}`,
		`{"Type":"put","Key":"app/b","Value":null,"Flags":7,"LockIndex":0,"CreateIndex":N+1,"ModifyIndex":N+1}`,
		`{"Type":"synced","ID":"N+2","Index":N+2}`)
	a.put("app/<a>\"?ttl=90s", "2")
	a.put("other", "y")
	a.do("DELETE", "/v1/kv/app/b", "")
	a.do("DELETE", "/v1/kv/?recurse", "")
	changes := []string{
		`{"Type":"put","ID":"N+3-0","Index":N+3,"Key":"app/\u003ca\u003e\"","Value":"Mg==","Flags":0,"LockIndex":0,"CreateIndex":N+3,"ModifyIndex":N+3,"TTL":"1m30s"}`,
		`{"Type":"delete","ID":"N+5-0","Index":N+5,"Key":"app/b","Flags":7,"LockIndex":0,"CreateIndex":N+1,"ModifyIndex":N+1}`,
		`{"Type":"delete","ID":"N+6-0","Index":N+6,"Key":"app/\u003ca\u003e\"","Flags":0,"LockIndex":0,"CreateIndex":N+3,"ModifyIndex":N+3,"TTL":"1m30s"}`,
		`{"Type":"delete","ID":"N+6-1","Index":N+6,"Key":"app/a","Flags":0,"LockIndex":0,"CreateIndex":N+0,"ModifyIndex":N+0}`,
	}
	s.want(base, changes...)
	synced := `{"Type":"synced","ID":"N+6","Index":N+6}`
	for from, rest := range map[string][]string{
		"?index=%d|2":            changes,
		"?after=%d|2":            changes,
		"?after=%d-0|3":          changes[1:],
		"?after=%d-0|6":          changes[3:],
		"?index=%d|6":            nil,
		"?consistent&index=%d|5": changes[2:],
	} {
		target, plus, _ := strings.Cut(from, "|")
		a.feed(url, "app/"+fmt.Sprintf(target, base+uint64(plus[0]-'0'))).want(base, append(rest[:len(rest):len(rest)], synced)...)
	}
}

func TestFeedSSE(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	url := a.listen().URL
	a.put("a", "1")
	base := a.applied()
	s := a.feed(url, "", "Accept", "text/event-stream")
	if got := s.header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got Content-Type %s", got)
	}
	s.want(base, "id", "event: reset", `data: {"Type":"reset","Index":N+0,"Reason":"the feed starts here","Epoch":"`+a.agent.server.Epoch()+`"}`, "",
		"event: put", `data: {"Type":"put","Key":"a","Value":"MQ==","Flags":0,"LockIndex":0,"CreateIndex":N+0,"ModifyIndex":N+0}`, "",
		"id: N+0", "event: synced", `data: {"Type":"synced","ID":"N+0","Index":N+0}`, "")
	a.put("a", "2")
	a.put("a", "3")
	s.want(base, "id: N+1-0", "event: put")
	// As a browser comes back: the same URL, and what it has seen.
	s = a.feed(url, fmt.Sprintf("?index=%d", base-1), "Accept", "text/html, text/event-stream;q=0.9", "Last-Event-ID", fmt.Sprintf("%d-0", base+1))
	s.want(base, "id: N+2-0", "event: put")
}

func TestFeedRefuses(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	for _, test := range []struct {
		target string
		status int
		body   string
	}{
		{"a?index=x", 400, "Invalid index"},
		{"a?after=x", 400, `"x" is not the ID of an event`},
		{"a?index=1&after=1", 400, "Conflicting flags: after=1&index=1\n"},
		{"a?dc=nowhere", 500, "No path to datacenter"},
		{"a?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."},
	} {
		if got := a.do("GET", "/v1/watch/kv/"+test.target, ""); got.status != test.status || got.body != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.target, got.status, got.body, test.status, test.body)
		}
	}
	if got := a.do("GET", "/v1/watch/kv", ""); got.status != 307 || got.header.Get("Location") != "/v1/watch/kv/" {
		t.Errorf("without a slash: got %d to %s", got.status, got.header.Get("Location"))
	}
}

// Over HTTP/2, where many feeds share a connection and each has deadlines of its
// own, a feed goes on when it was idle.
func TestFeedOverHTTP2(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	server := httptest.NewUnstartedServer(a.handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/watch/kv/", nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := server.Client().Do(r)
	if err != nil || reply.ProtoMajor != 2 {
		t.Fatalf("got %v, %v, want an answer over HTTP/2", reply, err)
	}
	defer reply.Body.Close()
	s := &stream{t: t, lines: bufio.NewReader(reply.Body)}
	s.until("synced")
	for i := range 3 {
		a.put("k", fmt.Sprint(i))
		s.until(`"put"`)
		time.Sleep(50 * time.Millisecond)
	}
}

// A key is not a path, here neither.
func TestFeedOfOddKeys(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	url := a.listen().URL
	a.put("a//b/../c", "1")
	if got := a.feed(url, "a//b/..").until("synced"); len(got) != 3 {
		t.Errorf("got %q, want the key", got)
	}
}

// A history that does not lead on, an index that never was and a restored
// snapshot all start a feed over, and say why.
func TestFeedResets(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	url := a.listen().URL
	a.put("k", "old")
	archive := a.do("GET", "/v1/snapshot", "").body
	base := a.applied()
	reset := func(s *stream, reason string) string {
		t.Helper()
		var e struct {
			Type, Reason, ID string
			Index            uint64
		}
		got := s.until("synced")
		if err := json.Unmarshal([]byte(got[0]), &e); err != nil || e.Type != "reset" || !strings.Contains(e.Reason, reason) || len(got) != 3 {
			t.Errorf("got %s, want a reset, %s", got, reason)
		}
		return got[1]
	}
	reset(a.feed(url, "k?index=99999"), fmt.Sprintf("index 99999 was never reached: the cluster is at %d", base))

	live := a.feed(url, fmt.Sprintf("k?index=%d", base))
	live.until("synced")
	a.put("k", "new")
	live.until("put")
	if got := a.do("PUT", "/v1/snapshot", archive); got.status != 200 {
		t.Fatal(got)
	}
	for _, s := range []*stream{live, a.feed(url, fmt.Sprintf("k?index=%d", base))} {
		if got := reset(s, "took over a snapshot"); !strings.Contains(got, `"b2xk"`) {
			t.Errorf("got %s, want the old value", got)
		}
	}
	a.put("k", "newer")
	live.until("bmV3ZXI=")

	at := a.applied()
	a.agent.server.FSM().LimitHistory(1000)
	for i := range 50 {
		a.put("k", fmt.Sprint(i))
	}
	reset(a.feed(url, fmt.Sprintf("k?after=%d-0", at)), "limits.watch_history_size")
}

// A large state comes in parts, whole.
func TestFeedOfALargeState(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	url := a.listen().URL
	value := strings.Repeat("x", 50_000)
	for i := range 200 {
		a.put(fmt.Sprintf("k/%03d", i), value)
	}
	if got := a.feed(url, "k/").until("synced"); len(got) != 202 || len(got[200]) < 60_000 {
		t.Errorf("got %d lines, want 202", len(got))
	}
}

// Whoever hangs up is gone at once; whoever takes nothing, after a while; and
// when the server stops, everyone is told in order.
func TestFeedEnds(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, func(r *config.Runtime) { r.Limits.KVMaxValueSize = 8 << 20 })
	server := a.listen()
	inFlight := func(want int) {
		t.Helper()
		testutil.Eventually(t, 10*time.Second, fmt.Sprintf("%d feeds", want), func() error {
			if got := a.agent.server.InFlight(); got != want {
				return fmt.Errorf("%d in flight", got)
			}
			return nil
		})
	}
	var streams []*stream
	for range 20 {
		s := a.feed(server.URL, "")
		s.until("synced")
		streams = append(streams, s)
	}
	inFlight(20)
	for _, s := range streams[1:] {
		s.cancel()
	}
	inFlight(1)

	a.agent.server.Kill()
	if rest, err := io.ReadAll(streams[0].lines); err != nil || len(rest) > 0 {
		t.Errorf("when the server stopped: got %q, %v, want the end in order", rest, err)
	}
	inFlight(0)
}

// A client that takes nothing is cut off after takeTime, and only then.
func TestFeedCutsOffTheStuck(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	defer client.Close()
	w := &stuckWriter{conn: server, header: http.Header{}}
	out := &feedWriter{w: w, flush: http.NewResponseController(w), event: appendLine, patience: 50 * time.Millisecond}
	start := time.Now()
	err := out.send([]structs.FeedEvent{{Type: structs.FeedSynced}})
	if err == nil || time.Since(start) < 50*time.Millisecond {
		t.Errorf("got %v after %v, want a time-out", err, time.Since(start))
	}
	go io.Copy(io.Discard, client)
	if err := out.send([]structs.FeedEvent{{Type: structs.FeedSynced}}); err != nil {
		t.Errorf("to a client that takes it: %v", err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Errorf("the deadline still stands: %v", err)
	}
}

// stuckWriter writes to a connection that nobody may read from.
type stuckWriter struct {
	conn   net.Conn
	header http.Header
}

func (w *stuckWriter) Header() http.Header                { return w.header }
func (w *stuckWriter) WriteHeader(int)                    {}
func (w *stuckWriter) Write(p []byte) (int, error)        { return w.conn.Write(p) }
func (w *stuckWriter) FlushError() error                  { return nil }
func (w *stuckWriter) SetWriteDeadline(d time.Time) error { return w.conn.SetWriteDeadline(d) }

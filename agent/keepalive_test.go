package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
	"praetor/testutil/vnet"
)

// twin serves one handler by a keyServer, or by net/http alone.
type twin struct {
	t      *testing.T
	net    *vnet.Network
	server *httpServer
	mu     sync.Mutex // guards the field below
	seen   []string   // what the handler was asked
}

// seenBody remembers what was read of a body, and how that ended at first.
type seenBody struct {
	io.ReadCloser
	bytes []byte
	end   error
}

// Read reads on.
func (b *seenBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes = append(b.bytes, p[:n]...)
	if b.end == nil {
		b.end = err
	}
	return n, err
}

const twinAddr = "10.0.0.1:80"

// newTwin must be called in a bubble. alone: without a keyServer.
func newTwin(t *testing.T, alone bool, handler http.HandlerFunc) *twin {
	t.Helper()
	w := &twin{t: t, net: vnet.New(1)}
	ctx, cancel := context.WithCancel(t.Context())
	w.server = &httpServer{cancel: cancel}
	w.server.server = newHTTPServer(ctx, 1<<20, hclog.NewNullLogger())
	w.server.keys = newKeyServer(ctx, hclog.NewNullLogger())
	l, err := w.net.Host("10.0.0.1").Listen(twinAddr)
	if err != nil {
		t.Fatal(err)
	}
	w.server.listeners = []*apiListener{{Listener: l, settings: func() *config.Runtime { return &config.Runtime{} }, conns: &connCounts{by: map[string]int{}}}}
	recorded := http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header()["Date"] = nil
		body := &seenBody{ReadCloser: r.Body}
		r.Body = body
		handler(out, r)
		_, _ = io.Copy(io.Discard, r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, fmt.Sprintf("%s %s %s %q %v %v", r.Method, r.RequestURI, r.Host, body.bytes, body.end, r.RemoteAddr != ""))
	})
	if alone {
		w.server.server.Handler = recorded
		w.server.serving.Go(func() { _ = w.server.server.Serve(l) })
	} else {
		w.server.serve(recorded)
	}
	t.Cleanup(func() {
		w.server.close()
		w.net.MustBeClosed(t)
	})
	return w
}

func (w *twin) dial() net.Conn {
	w.t.Helper()
	conn, err := w.net.Host("10.0.0.2").Dial(w.t.Context(), twinAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// talk sends the pieces with a pause between them and returns all replies until
// the server hangs up.
func (w *twin) talk(pieces ...string) []string {
	w.t.Helper()
	conn := w.dial()
	go func() {
		for _, piece := range pieces {
			_, _ = io.WriteString(conn, piece)
			time.Sleep(time.Second)
		}
	}()
	var replies []string
	for in := bufio.NewReader(conn); ; {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return append(replies, err.Error())
		}
		text, err := httputil.DumpResponse(r, true)
		replies = append(replies, fmt.Sprintf("%s %v", text, err))
	}
}

// echo answers as the parameters say.
func echo(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.Header()["Content-Type"] = typeText
	if q.Has("close") {
		w.Header()["Connection"] = connClose
	}
	if size, err := strconv.Atoi(q.Get("size")); err == nil && size >= 0 && size <= 1<<20 {
		w.Header()["Content-Length"] = []string{strconv.Itoa(size)}
		_, _ = io.WriteString(w, strings.Repeat("x", size))
		return
	}
	if q.Has("empty") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var body []byte
	if !q.Has("unread") {
		body, _ = io.ReadAll(r.Body)
	}
	w.Header()["X-Odd"] = []string{"a\r\nb", "c"}
	fmt.Fprintf(w, "%s %s %.99q", r.Method, r.RequestURI, body)
}

var dialogues = map[string][]string{
	"one":                 {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n"},
	"pipelined":           {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\nPUT /v1/kv/b?flags=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /v1/kv/c HTTP/1.1\r\nHost: x\r\n\r\n"},
	"one after the other": {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "DELETE /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"much the same":       {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\nGET /v1/kv/b?flags=%41 HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\nGET /v1/kv/%zz HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n"},
	"the same but for":    {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\nDELETE /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/a HTTP/1.1\r\nHost: y\r\n\r\nGET /v1/kv/a HTTP/1.1\r\nHost: y\r\nA: b\r\n\r\nGET /v1/kv/a HTTP/1.1 \r\nHost: y\r\nA: b\r\n\r\n"},
	"its protocol":        {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/a HTTP/1.0\r\nHost: x\r\n\r\n"},
	"its spaces":          {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/a b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"its bodies":          {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcPUT /v1/kv/b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nd", "efPUT /v1/kv/b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\ngh"},
	"body later":          {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc", "def"},
	"head later":          {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nCont", "ent-Length: 6\r\n\r\nabcdefGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"one letter first":    {"G", "ET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n"},
	"others between":      {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n", "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n"},
	"unread body":         {"PUT /v1/kv/a?unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"body of a GET":       {"GET /v1/kv/a?unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"large body":          {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("b", 100000) + "GET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"medium body":         {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + strings.Repeat("b", 60000) + "GET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"long head":           {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("l", 5000) + "\r\n\r\n"},
	"replies of a size":   {"GET /v1/kv/a?size=2000 HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/a?size=200000 HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/a?size=0 HTTP/1.1\r\nHost: x\r\n\r\n"},
	"empty replies":       {"GET /v1/kv/a?empty HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n"},
	"closed by us":        {"GET /v1/kv/a?close HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"closed by them":      {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
	"kept by them":        {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"blocking":            {"GET /v1/kv/a?index=7 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /v1/kv/a?index=8 HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /v1/kv/c HTTP/1.1\r\nHost: x\r\n\r\n"},
	"HTTP/1.0":            {"GET /v1/kv/a HTTP/1.0\r\n\r\n"},
	"HTTP/1.0, kept":      {"GET /v1/kv/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /v1/kv/b HTTP/1.0\r\n\r\n"},
	"HTTP/2":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	"HTTP/1.7":            {"GET /v1/kv/a HTTP/1.7\r\nHost: x\r\n\r\n"},
	"no host":             {"GET /v1/kv/a HTTP/1.1\r\n\r\n"},
	"chunks":              {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n"},
	"chunks and length":   {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
	"two lengths":         {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"},
	"negative length":     {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabcd"},
	"expectations":        {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "abc"},
	"high expectations":   {"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 3\r\n\r\nabc"},
	"a bad name":          {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n"},
	"a bad value":         {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nName: \x01\r\n\r\n"},
	"a bad host":          {"GET /v1/kv/a HTTP/1.1\r\nHost: x{y\r\n\r\n"},
	"two hosts":           {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"},
	"a folded line":       {"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nName: 1\r\n 2\r\n\r\n"},
	"bare newlines":       {"GET /v1/kv/a HTTP/1.1\nHost: x\n\nGET /v1/kv/b HTTP/1.1\nHost: x\n\n"},
	"a bare newline":      {"GET /v1/kv/a HTTP/1.1\r\nHost: x\n\r\nGET /v1/kv/b\x00 HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/c HTTP/1.1\r\nHost: x\r\n\r\n"},
	"a bad escape":        {"GET /v1/kv/%zz HTTP/1.1\r\nHost: x\r\n\r\n"},
	"another method":      {"POST /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"},
	"HEAD":                {"HEAD /v1/kv/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
	"a whole URL":         {"GET http://x/v1/kv/a HTTP/1.1\r\nHost: y\r\n\r\n"},
	"dots":                {"GET /v1/kv/../status/leader HTTP/1.1\r\nHost: x\r\n\r\n"},
	"nothing":             {""},
	"noise":               {"\r\n\r\n\x00\x01\x02"},
}

// What a client gets, and what the handler sees, is what it would be with
// net/http alone.
func TestKeysAsNetHTTP(t *testing.T) {
	for name, pieces := range dialogues {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				alone, both := newTwin(t, true, echo), newTwin(t, false, echo)
				want, got := alone.talk(pieces...), both.talk(pieces...)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got the replies\n%.500q\nwant\n%.500q", got, want)
				}
				if !reflect.DeepEqual(both.seen, alone.seen) {
					t.Errorf("the handler saw\n%.500q\nwant\n%.500q", both.seen, alone.seen)
				}
			})
		})
	}
}

func FuzzKeysAsNetHTTP(f *testing.F) {
	for _, pieces := range dialogues {
		f.Add([]byte(strings.Join(pieces, "")))
	}
	f.Add([]byte("PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabcde"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		synctest.Test(t, func(t *testing.T) {
			alone, both := newTwin(t, true, echo), newTwin(t, false, echo)
			for _, w := range []*twin{alone, both} {
				conn := w.dial()
				go func() { _, _ = io.Copy(io.Discard, conn) }() // or large replies are stuck, at a place of their own
				_, _ = conn.Write(sent)
				synctest.Wait() // a reply that meets a client that is gone ends the connection, sooner or later
				conn.Close()
				synctest.Wait()
			}
			if !reflect.DeepEqual(both.seen, alone.seen) {
				t.Errorf("the handler saw %q, with net/http alone %q", both.seen, alone.seen)
			}
		})
	})
}

// A client that leaves a blocking query ends it.
func TestKeysHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended error
		w := newTwin(t, false, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			ended = r.Context().Err()
		})
		conn := w.dial()
		_, _ = io.WriteString(conn, "GET /v1/kv/a?index=1 HTTP/1.1\r\nHost: x\r\n\r\n")
		time.Sleep(10 * time.Minute)
		if ended != nil {
			t.Fatal("the query ended with its client still there")
		}
		conn.Close()
		synctest.Wait()
		if ended == nil {
			t.Error("the query goes on without its client")
		}
	})
}

// So it does where the kernel tells, also if it has waited before.
func TestKeysHangUpOfASocket(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan context.Context), make(chan error)
	s := newKeyServer(t.Context(), hclog.NewNullLogger())
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- r.Context()
		if r.URL.Path == "/v1/kv/waits" {
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
	})
	go s.accept(listener)
	defer listener.Close()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	ask := func(conn net.Conn, key string) {
		_, _ = io.WriteString(conn, "GET /v1/kv/"+key+"?index=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	stays, goes := dial(), dial()
	in := bufio.NewReader(goes)
	for range 3 {
		ask(goes, "answers")
		<-began
		if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("got %v, %v", r, err)
		}
	}
	ask(stays, "waits")
	other := <-began
	ask(goes, "waits")
	<-began
	goes.Close()
	<-ended // or the test takes for ever
	if other.Err() != nil {
		t.Error("another client's query ended too")
	}
	stays.Close()
	<-ended
	s.stop(t.Context())
}

// A panic costs its client the connection, and nobody else anything.
func TestKeysPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t, false, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/kv/panic" {
				panic("as asked")
			}
			echo(w, r)
		})
		other := w.dial()
		if got := w.talk("GET /v1/kv/panic HTTP/1.1\r\nHost: x\r\n\r\n"); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		_, _ = io.WriteString(other, "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n")
		if r, err := http.ReadResponse(bufio.NewReader(other), nil); err != nil || r.StatusCode != http.StatusOK {
			t.Errorf("the other client got %v, %v", r, err)
		}
	})
}

// When the agent stops, idle connections end at once, requests under way have
// their time, and those that take longer are cut off.
func TestKeysStop(t *testing.T) {
	for takes, replies := range map[time.Duration]int{0: 0, closeTime / 2: 1, time.Hour: 0} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			w := newTwin(t, false, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(takes):
				case <-release:
				}
				w.WriteHeader(http.StatusOK)
			})
			t.Cleanup(func() { close(release) })
			conn := w.dial()
			if takes > 0 {
				_, _ = io.WriteString(conn, "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n")
			}
			synctest.Wait()
			go w.server.close()
			began, in, got := time.Now(), bufio.NewReader(conn), 0
			for {
				if _, err := http.ReadResponse(in, nil); err != nil {
					break
				}
				got++
			}
			if took := time.Since(began); got != replies || took > min(takes, closeTime)+time.Second {
				t.Errorf("a request of %s got %d replies within %s", takes, got, took)
			}
		})
	}
}

// tireless is the connection of a client that sends the same heads again and again.
type tireless struct {
	net.Conn
	heads []byte
	at    int
	left  int // bytes
}

func (c *tireless) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.left)], c.heads[c.at:])
	c.at, c.left = (c.at+n)%len(c.heads), c.left-n
	return n, nil
}

func (*tireless) Write(p []byte) (int, error)     { return len(p), nil }
func (*tireless) Close() error                    { return nil }
func (*tireless) SetReadDeadline(time.Time) error { return nil }
func (*tireless) RemoteAddr() net.Addr            { return &net.TCPAddr{} }

// What a request costs beside its handler and the network.
func BenchmarkKeyConn(b *testing.B) {
	head := "GET /v1/kv/bench/key-0000001 HTTP/1.1\r\nHost: 127.0.0.1:8500\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n"
	for name, extra := range map[string][2]string{"the same lines": {}, "other lines": {"X-Request: 1\r\n", "X-Request: 2\r\n"}} {
		b.Run(name, func(b *testing.B) {
			s := newKeyServer(b.Context(), hclog.NewNullLogger())
			s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
			conn := &tireless{heads: []byte(head + extra[0] + "\r\n" + head + extra[1] + "\r\n")}
			conn.left = b.N * len(conn.heads) / 2
			c := &keyConn{Conn: conn, server: s, header: http.Header{}}
			c.take()
			b.ReportAllocs()
			c.serve()
		})
	}
}

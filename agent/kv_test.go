package agent

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"praetor/structs"
)

var indexes = regexp.MustCompile(`Index":[1-9][0-9]*`)

func TestKV(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	for _, test := range []struct {
		request string // method, target, body
		status  int
		body    string // * stands for a number
	}{
		{"PUT /v1/kv/foo/bar hello", 200, "true"},
		{"GET /v1/kv/foo/bar", 200, `[{"LockIndex":0,"Key":"foo/bar","Flags":0,"Value":"aGVsbG8=","CreateIndex":*,"ModifyIndex":*}]`},
		{"GET /v1/kv/foo/bar?raw", 200, "hello"},
		{"GET /v1/kv/foo%2Fbar?raw", 200, "hello"},
		{"GET /v1/kv/nope", 404, ""},
		{"GET /v1/kv/?keys&separator=/", 200, `["foo/"]`},
		{"GET /v1/kv/?keys&seperator=%2F", 200, `["foo/"]`},
		{"GET /v1/kv/foo?keys", 200, `["foo/bar"]`},
		{"GET /v1/kv/nope?keys", 404, ""},
		{"GET /v1/kv/nope?recurse", 404, ""},
		{"GET /v1/kv/foo?recurse", 200, `[{"LockIndex":0,"Key":"foo/bar","Flags":0,"Value":"aGVsbG8=","CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/kv/empty", 200, "true"},
		{"GET /v1/kv/empty", 200, `[{"LockIndex":0,"Key":"empty","Flags":0,"Value":null,"CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/kv/foo/bar?cas=0 x", 200, "false"},
		{"PUT /v1/kv/new?cas=5 x", 200, "false"},
		{"PUT /v1/kv/new?cas=0&flags=18446744073709551615 x", 200, "true"},
		{"GET /v1/kv/new", 200, `[{"LockIndex":0,"Key":"new","Flags":18446744073709551615,"Value":"eA==","CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/kv/foo/bar?cas=0&acquire=xx x", 400, "Conflicting flags: acquire=xx&cas=0\n"},
		{"DELETE /v1/kv/foo/bar?recurse&cas=1", 400, "Conflicting flags: cas=1&recurse=\n"},
		{"PUT /v1/kv/ x", 400, "Missing key name"},
		{"GET /v1/kv/", 400, "Missing key name"},
		{"DELETE /v1/kv/", 400, "Missing key name"},
		{"PUT /v1/kv/x?flags=abc", 500, `strconv.ParseUint: parsing "abc": invalid syntax`},
		{"PUT /v1/kv/x?cas=", 500, `strconv.ParseUint: parsing "": invalid syntax`},
		{"DELETE /v1/kv/x?cas=abc", 500, `strconv.ParseUint: parsing "abc": invalid syntax`},
		{"PUT /v1/kv/x?acquire=s x", 500, `raft apply failed: invalid session "s"`},
		{"PUT /v1/kv/x?acquire= x", 500, "raft apply failed: missing session"},
		{"PUT /v1/kv/x?release= x", 500, "raft apply failed: missing session"},
		{"PUT /v1/kv/x?release=s x", 200, "false"},
		{"PUT /v1/kv/x?fence=a:b:1 x", 409, `fenced: the lock on key "a:b" is not held`},
		{"DELETE /v1/kv/foo/bar?fence=foo/bar:1", 409, `fenced: the lock on key "foo/bar" is not held`},
		{"DELETE /v1/kv/?recurse&fence=a:18446744073709551615", 409, `fenced: the lock on key "a" is not held`},
		{"PUT /v1/kv/x?fence=a x", 400, `Invalid fence "a": it is the key of a lock, a colon and its LockIndex`},
		{"PUT /v1/kv/x?fence=:1 x", 400, `Invalid fence ":1": it is the key of a lock, a colon and its LockIndex`},
		{"PUT /v1/kv/x?fence=a:-1 x", 400, `Invalid fence "a:-1": it is the key of a lock, a colon and its LockIndex`},
		{"DELETE /v1/kv/x?fence=a:x", 400, `Invalid fence "a:x": it is the key of a lock, a colon and its LockIndex`},
		{"GET /v1/kv/x", 404, ""},
		{"PUT /v1/kv/timed?ttl=30s x", 200, "true"},
		{"GET /v1/kv/timed", 200, `[{"LockIndex":0,"Key":"timed","Flags":0,"Value":"eA==","CreateIndex":*,"ModifyIndex":*,"TTL":"30s"}]`},
		{"PUT /v1/kv/timed x", 200, "true"},
		{"GET /v1/kv/timed", 200, `[{"LockIndex":0,"Key":"timed","Flags":0,"Value":"eA==","CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/kv/timed?ttl=999ms x", 400, "Invalid key TTL '999ms', must be between [1s=8784h0m0s]"},
		{"PUT /v1/kv/timed?ttl=1000000h x", 400, "Invalid key TTL '1000000h0m0s', must be between [1s=8784h0m0s]"},
		{"PUT /v1/kv/timed?ttl=-5s x", 400, "Invalid key TTL '-5s', must be between [1s=8784h0m0s]"},
		{"PUT /v1/kv/timed?ttl=0s x", 400, `Invalid ttl "0s": leave it out for a key that stays`},
		{"PUT /v1/kv/timed?ttl= x", 400, `Invalid ttl "": it is a duration such as 30s`},
		{"PUT /v1/kv/timed?ttl=30 x", 400, `Invalid ttl "30": it is a duration such as 30s`},
		{"DELETE /v1/kv/new?cas=0", 200, "false"},
		{"DELETE /v1/kv/missing?cas=7", 200, "true"},
		{"DELETE /v1/kv/missing", 200, "true"},
		{"DELETE /v1/kv/new", 200, "true"},
		{"DELETE /v1/kv/?recurse", 200, "true"},
		{"GET /v1/kv/?recurse", 404, ""},
		{"GET /v1/kv/?keys", 200, "[]"},
		// A key is what was asked for, whatever it looks like.
		{"PUT /v1/kv/dbl//slash 1", 200, "true"},
		{"PUT /v1/kv//first 2", 200, "true"},
		{"PUT /v1/kv/a/../b/./c 3", 200, "true"},
		{"PUT /v1/kv/a%20b%25%3Cü 4", 200, "true"},
		{"GET /v1/kv/a/../b/./c?raw", 200, "3"},
		{"GET /v1/kv/?keys", 200, `["/first","a b%\u003cü","a/../b/./c","dbl//slash"]`},
	} {
		method, rest, _ := strings.Cut(test.request, " ")
		target, body, _ := strings.Cut(rest, " ")
		got := a.do(method, target, body)
		if text := indexes.ReplaceAllString(got.body, `Index":*`); got.status != test.status || text != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.request, got.status, text, test.status, test.body)
		}
	}
}

func TestKVHeaders(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "<b>")
	got := a.do("GET", "/v1/kv/k?raw", "").header
	for name, want := range map[string]string{
		"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox",
		"X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0", "X-Consul-Query-Backend": "blocking-query", "Vary": "Accept-Encoding",
	} {
		if got.Get(name) != want {
			t.Errorf("raw: %s: got %q, want %q", name, got.Get(name), want)
		}
	}
	missing := a.do("GET", "/v1/kv/nope", "").header
	if missing.Get("X-Consul-Index") == "" || missing.Get("X-Consul-Index") == "0" || missing["Content-Type"] != nil {
		t.Errorf("missing key: got %v", missing)
	}
	if got := a.do("PUT", "/v1/kv/k", "v").header; got.Get("Content-Type") != "application/json" || got["X-Consul-Index"] != nil {
		t.Errorf("PUT: got %v", got)
	}
}

// What we write by hand is what encoding/json writes.
func TestAppendEntries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var entries []*structs.DirEntry
		for range rapid.IntRange(1, 3).Draw(t, "n") {
			entries = append(entries, &structs.DirEntry{
				Key:   string(rapid.SliceOf(rapid.Byte()).Draw(t, "key")),
				Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value"),
				Flags: rapid.Uint64().Draw(t, "flags"), LockIndex: rapid.Uint64().Draw(t, "lock"),
				Session:   rapid.String().Draw(t, "session"),
				TTL:       time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "ttl")),
				RaftIndex: structs.RaftIndex{CreateIndex: rapid.Uint64().Draw(t, "create"), ModifyIndex: rapid.Uint64().Draw(t, "modify")},
			})
		}
		got := string(appendEntries(nil, entries))
		for _, e := range entries {
			if len(e.Value) == 0 {
				e.Value = nil // as the state keeps it
			}
		}
		want, err := json.Marshal(entries)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// blankWriter is a ResponseWriter that costs nothing.
type blankWriter struct{ header http.Header }

func (w *blankWriter) Header() http.Header            { return w.header }
func (w *blankWriter) WriteHeader(int)                {}
func (w *blankWriter) Write(body []byte) (int, error) { return len(body), nil }

func BenchmarkHandlerGet(b *testing.B) {
	for _, target := range []string{"/v1/kv/some/key", "/v1/kv/some/key?raw", "/v1/kv/some/key?stale&index=1&wait=5s"} {
		b.Run(target, func(b *testing.B) {
			a := newTestAPI(b, nil)
			a.put("some/key", strings.Repeat("x", 256))
			r := httptest.NewRequest("GET", target, nil)
			w := &blankWriter{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				a.handler.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkHandlerPut(b *testing.B) {
	a := newTestAPI(b, nil)
	body := strings.NewReader(strings.Repeat("x", 256))
	r := httptest.NewRequest("PUT", "/v1/kv/some/key", body)
	w := &blankWriter{http.Header{}}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		body.Reset(fmt.Sprintf("%0256d", n))
		clear(w.header)
		a.handler.ServeHTTP(w, r)
	}
}

// BenchmarkCallPut is BenchmarkHandlerPut without HTTP.
func BenchmarkCallPut(b *testing.B) {
	a := newTestAPI(b, nil)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		var ok bool
		err := a.agent.server.Call(b.Context(), "KV.Apply", &structs.KVSRequest{
			Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "some/key", Value: fmt.Appendf(nil, "%0256d", n)},
		}, &ok)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCallGet is BenchmarkHandlerGet without HTTP.
func BenchmarkCallGet(b *testing.B) {
	a := newTestAPI(b, nil)
	a.put("some/key", strings.Repeat("x", 256))
	b.ReportAllocs()
	for b.Loop() {
		var got structs.IndexedDirEntries
		if err := a.agent.server.Call(b.Context(), "KV.Get", &structs.KeyRequest{Key: "some/key"}, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEntries(b *testing.B) {
	value := []byte(strings.Repeat("x", 256))
	entries := []*structs.DirEntry{{Key: "some/key", Value: value, RaftIndex: structs.RaftIndex{CreateIndex: 1, ModifyIndex: 2}}}
	buf := make([]byte, 0, base64.StdEncoding.EncodedLen(256)+200)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEntries(buf[:0], entries)
	}
}

func BenchmarkTimer(b *testing.B) {
	s := &series{kind: sample}
	for b.Loop() {
		s.since(time.Now())
	}
}

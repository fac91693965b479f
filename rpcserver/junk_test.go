package rpcserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/client"
	"praetor/structs"
)

// keepWorking has a healthy client write and read until the test ends. Not one
// call may fail.
func keepWorking(t *testing.T, s *rpcserver.Server) {
	t.Helper()
	c, err := client.NewWithConfig(client.Config{
		Servers: []string{s.Addr()},
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // not the one who misbehaves
			return d.DialContext(ctx, "tcp", addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			want := fmt.Sprint(i)
			if err := c.KV().Put(context.Background(), "healthy", []byte(want)); err != nil {
				t.Errorf("healthy client: %v", err)
				return
			}
			entry, _, err := c.KV().Get(context.Background(), "healthy", nil)
			if err != nil || string(entry.Value) != want {
				t.Errorf("healthy client: got %v, %v, want %s", entry, err, want)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	t.Cleanup(func() {
		stop()
		working.Wait()
		c.Close()
	})
}

// drain waits until the server has closed the connection, in whatever way.
func drain(t testing.TB, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("connection is still open")
	}
}

func TestJunk(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keepWorking(t, s)
	header := func(seq uint64, method string) string {
		b, err := structs.AppendValue([]byte{0}, map[string]any{"Seq": seq, "ServiceMethod": method})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, junk := range map[string]string{
		"nothing":                 "",
		"old mux":                 "\x02",
		"insecure TLS":            "\x07",
		"gRPC":                    "\x08PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP":                    "GET / HTTP/1.1\r\n\r\n",
		"native TLS":              "\x16\x03\x01\x02\x00",
		"RPC, not msgpack":        "\x00\xc1\xc1\xc1",
		"RPC, HTTP":               "\x00GET / HTTP/1.1\r\n\r\n",
		"RPC, header a number":    "\x00\x01\x02",
		"RPC, header an array":    "\x00\x92\x01\xa1a\x80",
		"RPC, seq a string":       "\x00\x82\xa3Seq\xa1a\xadServiceMethod\xa1a\x80",
		"RPC, half a header":      "\x00\x82\xa3Seq",
		"RPC, endless header":     "\x00" + strings.Repeat("\x81", 5000),
		"RPC, header of 1 MB":     "\x00\x81\xdb\x00\x10\x00\x00" + strings.Repeat("a", 1<<20),
		"RPC, header of 4 GB":     "\x00\x81\xdb\xff\xff\xff\xff" + strings.Repeat("a", 1<<20),
		"RPC, half a body":        header(1, "KV.Get") + "\x81\xa3Key\xa5a",
		"RPC, body not msgpack":   header(1, "KV.Get") + "\xc1",
		"RPC, deep body":          header(1, "KV.Get") + strings.Repeat("\x81\xa1a", 1000) + "\x00",
		"RPC, body of arrays":     header(1, "KV.Get") + strings.Repeat("\x91", 100) + "\x00",
		"RPC, body of 4 billion":  header(1, "KV.Get") + "\xdd\xff\xff\xff\xff" + strings.Repeat("\x00", 4<<20),
		"raft, junk":              "\x01" + strings.Repeat("\xff", 1000),
		"raft, HTTP":              "\x01GET / HTTP/1.1\r\n\r\n",
		"yamux, junk":             "\x04" + strings.Repeat("\xff", 1000),
		"yamux, huge frame":       "\x04\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff",
		"snapshot, junk":          "\x05" + strings.Repeat("\xff", 1000),
		"snapshot, endless":       "\x05" + strings.Repeat("\x81", 100<<10),
		"snapshot, header of 4GB": "\x05\xdb\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialRaw(t, s)
			conn.Write([]byte(junk)) // fails where the server hangs up early
			conn.CloseWrite()
			drain(t, conn)
		})
	}
}

func TestFirstByteNeverComes(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *rpcserver.Config) { c.HandshakeTimeout = time.Second })
	start := time.Now()
	newRaw(t, dialRaw(t, s)).mustEnd()
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("closed after %s", took)
	}
	r := dialRPC(t, s)
	time.Sleep(1200 * time.Millisecond) // the handshake is over: silence is allowed
	r.send(1, "Status.Ping", nil)
	r.receive(nil)
}

// Fifty connections declare gigabytes and send little.
func TestDeclaredLengthsCostNothing(t *testing.T) {
	s := startServer(t) // not parallel: it measures memory
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	declared := []string{"\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
		"\xdb\x00\x0f\x00\x00", "\xc6\x00\x0f\x00\x00", "\xdd\x00\x0f\x00\x00", "\xdf\x00\x07\x00\x00"} // within the limit
	for i := range 50 {
		r := dialRPC(t, s)
		message := request(t, 1, "KV.Get", map[string]any{})
		r.Write(append(message[:len(message)-1], declared[i%len(declared)]...))
		r.Write(bytes.Repeat([]byte{1}, 100))
	}
	time.Sleep(200 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("50 connections that declare much and send little hold %d MB", grown>>20)
	} else {
		t.Logf("50 connections hold %d KB", grown>>10)
	}
}

// A body that is msgpack but not what the method wants is answered, and the
// connection goes on.
func TestOddBodies(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keepWorking(t, s)
	r := dialRPC(t, s)
	for seq, c := range []struct {
		body any
		ok   bool
	}{
		{map[string]any{"Key": 7}, false},
		{map[string]any{"Key": map[string]any{"a": 1}}, false},
		{map[string]any{"Key": []string{"a"}}, false},
		{map[string]any{"MinQueryIndex": -1}, false},
		{map[string]any{"MinQueryIndex": "soon"}, false},
		{map[string]any{"MaxQueryTime": 1.5}, false},
		{"a string", false},
		{42, false},
		{true, false},
		{nil, true},
		{map[string]any{}, true},
		{map[string]any{"Unknown": []any{1, "a", map[string]any{"b": nil}}, "Key": "a"}, true},
		{map[string]any{"Key": nil, "Datacenter": nil}, true},
	} {
		r.send(uint64(seq), "KV.Get", c.body)
		var reply structs.IndexedDirEntries
		header := r.receive(&reply)
		if ok := header.Error == ""; ok != c.ok || header.Seq != uint64(seq) {
			t.Errorf("body %v: got %+v, want it accepted: %v", c.body, header, c.ok)
		}
		if !c.ok && header.Code != structs.Invalid {
			t.Errorf("body %v: code %d, want Invalid", c.body, header.Code)
		}
	}
}

// Request, then the end of the stream: the answer comes all the same.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, c := range []struct {
		method string
		body   map[string]any
	}{
		{"KV.Apply", map[string]any{"Op": "set", "DirEnt": map[string]any{"Key": "half", "Value": "closed"}}},
		{"KV.Get", map[string]any{"Key": "half"}},
		{"KV.Get", map[string]any{"Key": "half", "RequireConsistent": true}},
		{"KV.Get", map[string]any{"Key": "half", "MinQueryIndex": 1 << 40}}, // answers with what it has
	} {
		r := dialRPC(t, s)
		r.send(1, c.method, c.body)
		if err := r.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		var reply any
		if header := r.receive(&reply); header.Error != "" {
			t.Errorf("%s %v: %s", c.method, c.body, header.Error)
		}
		r.mustEnd()
	}
	entry, _, err := newClient(t, s).KV().Get(context.Background(), "half", nil)
	if err != nil || string(entry.Value) != "closed" {
		t.Errorf("got %v, %v", entry, err)
	}
}

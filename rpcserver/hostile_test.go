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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
	"praetor/testutil"
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
	s := startServer(t, func(c *rpcserver.Config) { c.HandshakeTimeout = 100 * time.Millisecond })
	start := time.Now()
	newRaw(t, dialRaw(t, s)).mustEnd()
	if took := time.Since(start); took < 90*time.Millisecond {
		t.Errorf("closed after %s", took)
	}
	r := dialRPC(t, s)
	time.Sleep(200 * time.Millisecond) // the handshake is over: silence is allowed
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

func TestConnectionsPerClient(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *rpcserver.Config) { c.MaxConnsPerClient = 100 })
	keepWorking(t, s)
	var open atomic.Int64
	var conns sync.WaitGroup
	for i := range 1000 {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		hello := []byte{wire.ByteRaft} // these count as well
		if i%2 == 0 {
			hello = append([]byte{wire.ByteRPC}, request(t, 1, "Status.Ping", struct{}{})...)
		}
		conn.Write(hello)
		conns.Go(func() {
			conn.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := conn.Read(make([]byte, 1)); n == 1 || errors.Is(err, os.ErrDeadlineExceeded) {
				open.Add(1)
			}
		})
	}
	conns.Wait()
	if open := open.Load(); open != 100 {
		t.Errorf("%d of 1000 connections from one address are open, want 100", open)
	}
}

// Closed connections make room for others, raft's too.
func TestConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *rpcserver.Config) { c.MaxConnsPerClient = 2 })
	for range 20 {
		for _, first := range []byte{wire.ByteRaft, wire.ByteRPC, wire.ByteYamux, wire.ByteSnapshot, 9} {
			testutil.Eventually(t, 5*time.Second, "a connection", func() error {
				conn, err := net.Dial("tcp", s.Addr())
				if err != nil {
					return err
				}
				defer conn.Close()
				conn.Write(append([]byte{wire.ByteRPC}, request(t, 1, "Status.Ping", struct{}{})...))
				conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				_, err = conn.Read(make([]byte, 1))
				return err
			})
			conn := dialRaw(t, s, first)
			conn.Close()
		}
	}
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keepWorking(t, s)
	const calls = 100_000
	r := dialRPC(t, s)
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		for seq := range calls {
			if _, err := r.Write(request(t, uint64(seq), "Status.Ping", struct{}{})); err != nil {
				t.Errorf("send: %v", err)
				return
			}
		}
	})
	seen := make([]bool, calls)
	for range calls {
		header := r.receive(nil)
		if header.Error != "" || seen[header.Seq] {
			t.Fatalf("got %+v, seen before: %v", header, seen[header.Seq])
		}
		seen[header.Seq] = true
	}
}

func TestSeqs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := dialRPC(t, s)
	forever := map[string]any{"Key": "a", "MinQueryIndex": 1 << 40}
	cancel := func(seq any) { r.send(0, wire.MethodCancel, seq) }
	cancel(7) // unknown: no reply
	cancel("seven")
	r.send(1, "KV.Get", forever)
	r.send(1, "KV.List", forever) // the same again; a cancel then ends the one that came last
	r.send(2, "Status.Ping", nil)
	if got := r.receive(nil); got.Seq != 2 {
		t.Fatalf("got %+v, want the ping", got)
	}
	var reply structs.IndexedDirEntries
	cancel(1)
	if got := r.receive(&reply); got.Seq != 1 || got.ServiceMethod != "KV.List" || got.Error != "" {
		t.Errorf("got %+v, want the cancelled list", got)
	}
	cancel(1)
	r.send(2, "Status.Ping", nil)
	if got := r.receive(nil); got.Seq != 2 {
		t.Errorf("got %+v, want the ping", got)
	}
	r.Conn.(*net.TCPConn).CloseWrite() // ends the other one
	if got := r.receive(&reply); got.ServiceMethod != "KV.Get" {
		t.Errorf("got %+v, want the get", got)
	}
	r.mustEnd()
}

// A body over the limit is refused with the name of the knob; the reason is
// read, and then the end of the stream, not a reset.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keepWorking(t, s)
	big := request(t, 5, "KV.Apply", map[string]any{"Op": "set", "DirEnt": map[string]any{"Key": "a", "Value": make([]byte, 8<<20)}})
	r := dialRPC(t, s)
	var sender sync.WaitGroup
	sender.Go(func() { r.Write(big); r.Conn.(*net.TCPConn).CloseWrite() })
	got := r.receive(nil)
	if got.Seq != 5 || got.Code != structs.TooLarge || !strings.Contains(got.Error, "limits.kv_max_value_size") {
		t.Errorf("got %+v", got)
	}
	r.mustEnd()
	sender.Wait()

	stream, err := dialYamux(t, s).Open()
	if err != nil {
		t.Fatal(err)
	}
	r = newRaw(t, stream)
	sender.Go(func() { r.Write(big); stream.Close() })
	if got := r.receive(nil); got.Code != structs.TooLarge {
		t.Errorf("on yamux: got %+v", got)
	}
	r.mustEnd()
	sender.Wait()

	kv := newClient(t, s).KV()
	for _, size := range []int{512<<10 + 1, 3 << 20, 20 << 20} {
		err := kv.Put(context.Background(), "a", make([]byte, size))
		if !structs.IsCode(err, structs.TooLarge) || !strings.Contains(err.Error(), "limits.kv_max_value_size") {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
	if err := kv.Put(context.Background(), "a", make([]byte, 512<<10)); err != nil {
		t.Errorf("as large as allowed: %v", err)
	}
}

// What goes wrong inside a method is an error for its caller, and for nobody
// else on the same connection.
func TestMethodsThatMisbehave(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keepWorking(t, s)
	r := dialRPC(t, s)
	for method, want := range map[string]string{
		"Test.Panic":  "Test.Panic failed inside the server: as the test wants",
		"Test.Silent": "unknown error",
		"Test.Odd":    "cannot be encoded",
	} {
		r.send(1, method, nil)
		if got := r.receive(nil); !strings.Contains(got.Error, want) || got.Code != structs.Internal {
			t.Errorf("%s: got %+v, want %q", method, got, want)
		}
	}
	r.send(2, "Status.Ping", nil)
	if got := r.receive(nil); got.Error != "" {
		t.Errorf("ping afterwards: got %+v", got)
	}
}

// A server that stops leaves no connection open, whatever it was for.
func TestKillClosesConnections(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var conns []net.Conn
	for _, hello := range []string{"", "\x00", "\x01", "\x03", "\x04", "\x05", "\x05\x84", "\x00\x82"} {
		conns = append(conns, dialRaw(t, s, []byte(hello)...))
	}
	waiting := dialRPC(t, s)
	waiting.send(1, "KV.Get", map[string]any{"Key": "a", "MinQueryIndex": 1 << 40})
	session := dialYamux(t, s)
	if _, err := session.Open(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
	for i, conn := range append(conns, waiting.Conn) {
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

package rpcserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/wire"
	"praetor/structs"
	"praetor/testutil"
)

func TestConnectionsPerClient(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *rpcserver.Config) { c.MaxConnsPerClient = 100 })
	keepWorking(t, s)
	var ended atomic.Int64
	for i := range 1000 {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// Raft's count as well. Whole, so that no deadline ends them on a machine
		// that has stood still for a while.
		hello := append([]byte{wire.ByteRaft, byte(len(aloneID))}, aloneID...)
		if i%2 == 0 {
			hello = append([]byte{wire.ByteRPC}, request(t, 1, "Status.Ping", struct{}{})...)
		}
		conn.Write(hello)
		go func() {
			if n, _ := conn.Read(make([]byte, 1)); n == 0 {
				ended.Add(1)
			}
		}()
	}
	all := func() error {
		if n := ended.Load(); n != 900 {
			return fmt.Errorf("%d of 1000 connections from one address have ended, want 900", n)
		}
		return nil
	}
	testutil.Eventually(t, 30*time.Second, "the end of what is too much", all)
	time.Sleep(100 * time.Millisecond)
	if err := all(); err != nil {
		t.Error(err)
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
	r.SetDeadline(time.Now().Add(2 * time.Minute)) // busy machines, race detectors
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
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	for i, conn := range append(conns, waiting.Conn) {
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

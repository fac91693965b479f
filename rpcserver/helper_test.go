package rpcserver_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
	"praetor/testutil"
)

const aloneID = "00000000-0000-0000-0000-000000000001"

// startServer runs a server of its own cluster, all in memory, on loopback, and
// waits until it leads.
func startServer(t testing.TB, options ...func(*rpcserver.Config)) *rpcserver.Server {
	t.Helper()
	config := rpcserver.DefaultConfig()
	config.NodeName, config.NodeID = "alone", aloneID
	config.Bootstrap, config.RPCPort, config.SerfPort = true, 0, 0
	config.MaxConnsPerClient = 0
	config.Raft.HeartbeatTimeout, config.Raft.ElectionTimeout = 50*time.Millisecond, 50*time.Millisecond
	config.Raft.LeaderLeaseTimeout = 50 * time.Millisecond
	config.Logger = testutil.Logger(t, "server")
	for _, option := range options {
		option(&config)
	}
	s, err := rpcserver.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Kill() })
	testutil.Eventually(t, 10*time.Second, "a leader", func() error {
		if !s.IsLeader() {
			return structs.ErrNoLeader
		}
		return nil
	})
	return s
}

// dialRaw connects to the server's RPC port and sends these bytes.
func dialRaw(t testing.TB, s *rpcserver.Server, hello ...byte) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

// raw is a connection on which a test sends what it likes, with none of the
// code of ours that it tests.
type raw struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func newRaw(t testing.TB, conn net.Conn) *raw { return &raw{t, conn, bufio.NewReader(conn)} }

// dialRPC opens a conversation with the server.
func dialRPC(t testing.TB, s *rpcserver.Server) *raw {
	t.Helper()
	return newRaw(t, dialRaw(t, s, 0))
}

func (r *raw) send(seq uint64, method string, body any) {
	r.t.Helper()
	if _, err := r.Write(request(r.t, seq, method, body)); err != nil {
		r.t.Fatalf("send %s: %v", method, err)
	}
}

// request is a message as Consul's clients write it.
func request(t testing.TB, seq uint64, method string, body any) []byte {
	t.Helper()
	header := map[string]any{"Seq": seq, "ServiceMethod": method}
	message, err := structs.AppendValue(nil, header)
	if err == nil {
		message, err = structs.AppendValue(message, body)
	}
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// receive reads one reply. A body that is nil is an empty map, as after errors.
func (r *raw) receive(body any) wire.Response {
	r.t.Helper()
	var header wire.Response
	first, err := structs.ReadValue(r.in, nil, 1<<20)
	if err == nil {
		err = structs.DecodeValue(first, &header)
	}
	if err != nil {
		r.t.Fatalf("reply header: %v", err)
	}
	second, err := structs.ReadValue(r.in, nil, 64<<20)
	if err != nil {
		r.t.Fatalf("reply body: %v", err)
	}
	if body == nil || header.Error != "" {
		if len(second) != 1 || second[0] != 0x80 {
			r.t.Errorf("body is %x, want an empty map", second)
		}
		return header
	}
	if err := structs.DecodeValue(second, body); err != nil {
		r.t.Fatalf("reply body: %v", err)
	}
	return header
}

// mustEnd fails unless the server closes the connection in order.
func (r *raw) mustEnd() {
	r.t.Helper()
	n, err := io.Copy(io.Discard, r.in)
	if errors.Is(err, syscall.ECONNRESET) {
		err = nil // it ended before all that we sent was read
	}
	if n != 0 || err != nil {
		r.t.Errorf("got %d bytes and then %v, want the end of the connection", n, err)
	}
}

// newClient returns a client of the server.
func newClient(t testing.TB, s *rpcserver.Server) *client.Client {
	t.Helper()
	c, err := client.New(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

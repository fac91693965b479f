package client_test

import (
	"bufio"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
	"praetor/testutil/vnet"
)

// fake is a server that does what a test wants it to.
type fake struct {
	t    *testing.T
	addr string

	mu    sync.Mutex // guards the fields below
	calls []string   // methods in the order they came
}

// newFake listens at ip and answers each request with what answer writes to the
// connection. When answer returns false, the connection is closed.
func newFake(t *testing.T, network *vnet.Network, ip string, answer func(conn net.Conn, request wire.Request) bool) *fake {
	t.Helper()
	listener, err := network.Host(ip).Listen(ip + ":8300")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, addr: listener.Addr().String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			conns.Go(func() { f.serve(conn, answer) })
		}
	})
	t.Cleanup(func() { listener.Close() })
	return f
}

func (f *fake) serve(conn net.Conn, answer func(net.Conn, wire.Request) bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	if first, err := in.ReadByte(); err != nil || first != wire.ByteRPC {
		return
	}
	for {
		var request wire.Request
		header, err := structs.ReadValue(in, nil, 1<<20)
		if err != nil || structs.DecodeValue(header, &request) != nil {
			return
		}
		if _, err := structs.ReadValue(in, nil, 1<<20); err != nil {
			return
		}
		f.mu.Lock()
		f.calls = append(f.calls, request.ServiceMethod)
		f.mu.Unlock()
		if !answer(conn, request) {
			return
		}
	}
}

// count is how often a method was called.
func (f *fake) count(method string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, call := range f.calls {
		if call == method {
			n++
		}
	}
	return n
}

// reply writes a reply, or an error reply if code is not 0.
func reply(conn net.Conn, request wire.Request, code structs.Code, body any) bool {
	header := wire.Response{Seq: request.Seq, ServiceMethod: request.ServiceMethod, Code: code}
	if code != 0 {
		header.Error, body = "the test says no", struct{}{}
	}
	message, err := structs.AppendValue(nil, header)
	if err == nil {
		message, err = structs.AppendValue(message, body)
	}
	if err == nil {
		_, err = conn.Write(message)
	}
	return err == nil
}

// The ways in which fakes answer.
func yes(conn net.Conn, request wire.Request) bool {
	if request.ServiceMethod == "KV.Apply" {
		return reply(conn, request, 0, true)
	}
	return reply(conn, request, 0, &structs.IndexedDirEntries{QueryMeta: structs.QueryMeta{Index: 7}})
}
func noLeader(conn net.Conn, request wire.Request) bool {
	return reply(conn, request, structs.NoLeader, nil)
}
func hangUp(net.Conn, wire.Request) bool { return false }
func hang(net.Conn, wire.Request) bool   { return true }
func pingOnly(conn net.Conn, request wire.Request) bool {
	return request.ServiceMethod != "Status.Ping" || reply(conn, request, 0, struct{}{})
}

const clientIP = "10.0.1.1"

// newClient returns a client, on a host of its own, of servers at these addresses.
func newClient(t *testing.T, network *vnet.Network, addrs ...string) *client.Client {
	t.Helper()
	c, err := client.NewWithConfig(client.Config{Servers: addrs, Dial: network.Host(clientIP).Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// newNetwork returns a network on which everything must be closed at the end.
func newNetwork(t *testing.T) *vnet.Network {
	network := vnet.New(1)
	t.Cleanup(func() { network.MustBeClosed(t) })
	return network
}

// timed returns how long f took.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

var ctx = context.Background()

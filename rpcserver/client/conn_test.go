package client_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
)

// A caller that gives up tells the server so.
func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		server := newFake(t, network, "10.0.0.1", pingOnly)
		kv := newClient(t, network, server.addr).KV()
		short, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Minute, cancel)
		took := timed(func() {
			_, _, err := kv.Get(short, "a", &structs.QueryOptions{MinQueryIndex: 1})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("read: got %v", err)
			}
		})
		synctest.Wait()
		if took != time.Minute || server.count(wire.MethodCancel) != 1 {
			t.Errorf("came back after %s, server was told %d times", took, server.count(wire.MethodCancel))
		}
		short, cancel = context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		if err := kv.Put(short, "a", nil); !errors.Is(err, context.Canceled) || !structs.IsCode(err, structs.Unclear) {
			t.Errorf("write: got %v", err)
		}
	})
}

func TestCloseWhileCallsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		server := newFake(t, network, "10.0.0.1", hang)
		c := newClient(t, network, server.addr)
		unreachable := newClient(t, network, "10.0.0.2:8300")
		network.Block(clientIP, "10.0.0.2") // dials hang
		var calls sync.WaitGroup
		for range 64 {
			calls.Go(func() {
				if err := c.KV().Put(ctx, "a", nil); !structs.IsCode(err, structs.Unclear) {
					t.Errorf("write: got %v", err)
				}
			})
			calls.Go(func() {
				if _, _, err := unreachable.KV().Get(ctx, "a", nil); err == nil {
					t.Error("read that never got a connection: got no error")
				}
			})
		}
		synctest.Wait()
		if took := timed(func() { c.Close(); unreachable.Close() }); took > 0 {
			t.Errorf("close took %s", took)
		}
		calls.Wait()
		if err := c.KV().Put(ctx, "a", nil); !structs.IsCode(err, structs.Unreachable) {
			t.Errorf("after close: got %v", err)
		}
	})
}

// What a hostile or broken server can send.
func TestBadServers(t *testing.T) {
	t.Parallel()
	junk := func(b []byte) func(net.Conn, wire.Request) bool {
		return func(conn net.Conn, _ wire.Request) bool {
			_, err := conn.Write(b)
			return err == nil
		}
	}
	for name, c := range map[string]struct {
		answer func(net.Conn, wire.Request) bool
		want   structs.Code
	}{
		"junk":           {junk([]byte{0xc1}), structs.Unclear},
		"HTTP":           {junk([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), structs.Unclear},
		"half a header":  {junk([]byte{0x83, 0xa5}), structs.Unclear},
		"deep":           {junk(bytes.Repeat([]byte{0x91}, 100)), structs.Unclear},
		"unknown seqs":   {junk([]byte{0x81, 0xa3, 'S', 'e', 'q', 0x63, 0x80}), structs.Unclear},
		"endless header": {endless([]byte{0x81, 0xdb, 0xff, 0xff, 0xff, 0xff}), structs.Unclear},
		"endless reply": {func(conn net.Conn, r wire.Request) bool {
			header, _ := structs.AppendValue(nil, wire.Response{Seq: r.Seq})
			return endless(append(header, 0xdb, 0xff, 0xff, 0xff, 0xff))(conn, r)
		}, structs.TooLarge},
		"large reply": {func(conn net.Conn, r wire.Request) bool {
			return reply(conn, r, 0, make([]byte, 2<<20))
		}, structs.TooLarge},
		"a reply of another type": {func(conn net.Conn, r wire.Request) bool {
			return reply(conn, r, 0, []int{1})
		}, structs.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				network := newNetwork(t)
				server := newFake(t, network, "10.0.0.1", c.answer)
				cl, err := client.NewWithConfig(client.Config{
					Servers: []string{server.addr}, Dial: network.Host(clientIP).Dial, MaxReply: 1 << 20,
				})
				if err != nil {
					t.Fatal(err)
				}
				defer cl.Close()
				took := timed(func() {
					if err := cl.KV().Put(ctx, "a", nil); !structs.IsCode(err, c.want) {
						t.Errorf("got %v (code %d), want code %d", err, structs.CodeOf(err), c.want)
					}
				})
				if took > 10*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// endless begins with b and never stops.
func endless(b []byte) func(net.Conn, wire.Request) bool {
	return func(conn net.Conn, _ wire.Request) bool {
		for {
			if _, err := conn.Write(b); err != nil {
				return false
			}
			b = make([]byte, 64<<10)
		}
	}
}

// Arguments that cannot be encoded are their caller's problem alone.
func TestOddArguments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		server := newFake(t, network, "10.0.0.1", yes)
		c := newClient(t, network, server.addr)
		err := c.Read(ctx, "KV.Get", &struct{ F any }{unspeakable{}}, nil, 0)
		if !errors.Is(err, wire.ErrEncode) {
			t.Errorf("got %v", err)
		}
		if err := c.KV().Put(ctx, "a", nil); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

type unspeakable struct{}

func (unspeakable) MarshalBinary() ([]byte, error) { return nil, errors.New("not a word") }
func (unspeakable) UnmarshalBinary([]byte) error   { return nil }

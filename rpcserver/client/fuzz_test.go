package client_test

import (
	"context"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
	"praetor/testutil/vnet"
)

// FuzzWireConn has a server answer anything and then hang up. Calls must come
// back, none of them may panic.
func FuzzWireConn(f *testing.F) {
	network := vnet.New(1)
	listener, err := network.Host("10.0.0.1").Listen("10.0.0.1:8300")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { listener.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 128<<10 {
			return
		}
		ours, err := network.Host(clientIP).Dial(context.Background(), listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := client.NewConn(ours, wire.Limits{MaxBody: 1 << 20, Stall: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		calls := make(chan error, 2)
		for range cap(calls) {
			go func() {
				var reply structs.IndexedDirEntries
				calls <- conn.Call(context.Background(), "KV.Get", &structs.KeyRequest{Key: "a"}, &reply)
			}()
		}
		for conn.Busy() < cap(calls) {
			time.Sleep(time.Microsecond)
		}
		theirs.Write(b)
		theirs.Close()
		for range cap(calls) {
			select {
			case <-calls:
			case <-time.After(2 * time.Second):
				t.Fatal("a call still waits 2 s after the server has hung up")
			}
		}
	})
}

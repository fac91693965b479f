package rpcserver_test

import (
	"fmt"
	"io"
	"net"
	"net/rpc"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
	msgpackrpc "github.com/hashicorp/net-rpc-msgpackrpc/v2"
	"github.com/hashicorp/yamux"

	"praetor/rpcserver"
	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
)

// plainClient is net/rpc with the codec as it comes, without any code of ours.
// Closing the connection, not the client, ends it: the codec's Close races.
func plainClient(t testing.TB, conn net.Conn, handle *codec.MsgpackHandle) *rpc.Client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if handle == nil {
		return rpc.NewClientWithCodec(msgpackrpc.NewCodec(true, true, conn))
	}
	return rpc.NewClientWithCodec(msgpackrpc.NewCodecFromHandle(true, true, conn, handle))
}

func dialYamux(t testing.TB, s *rpcserver.Server) *yamux.Session {
	t.Helper()
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	session, err := yamux.Client(dialRaw(t, s, wire.ByteYamux), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

func TestStandardClients(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	stream := func(t *testing.T) net.Conn {
		stream, err := dialYamux(t, s).Open()
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	clients := map[string]func(t *testing.T) *rpc.Client{
		"DialPlain": func(t *testing.T) *rpc.Client {
			c, err := client.DialPlain(s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		},
		"default handle":          func(t *testing.T) *rpc.Client { return plainClient(t, dialRaw(t, s, 0), nil) },
		"Consul's handle":         func(t *testing.T) *rpc.Client { return plainClient(t, dialRaw(t, s, 0), structs.Handle) },
		"default handle on yamux": func(t *testing.T) *rpc.Client { return plainClient(t, stream(t), nil) },
		"Consul's on yamux":       func(t *testing.T) *rpc.Client { return plainClient(t, stream(t), structs.Handle) },
	}
	for name, dial := range clients {
		for _, service := range []string{"KV", "KVS"} {
			t.Run(name+" "+service, func(t *testing.T) {
				t.Parallel()
				tryKV(t, dial(t), service, strings.ReplaceAll(t.Name(), "/", "-")+"/")
			})
		}
	}
}

// tryKV uses every KV method, several times on one connection.
func tryKV(t *testing.T, c *rpc.Client, service, prefix string) {
	t.Helper()
	call := func(method string, args, reply any) {
		t.Helper()
		if err := c.Call(service+"."+method, args, reply); err != nil {
			t.Fatalf("%s.%s: %v", service, method, err)
		}
	}
	apply := func(op structs.KVOp, entry structs.DirEntry) (done bool) {
		t.Helper()
		call("Apply", &structs.KVSRequest{Datacenter: "dc1", Op: op, DirEnt: entry}, &done)
		return done
	}
	for _, key := range []string{"a", "b/c", "b/d"} {
		if apply(structs.KVSet, structs.DirEntry{Key: prefix + key, Value: []byte("value of " + key), Flags: 42}) {
			t.Errorf("set %s answers true, Consul's false", key)
		}
	}
	var got structs.IndexedDirEntries
	call("Get", &structs.KeyRequest{Datacenter: "dc1", Key: prefix + "a"}, &got)
	if len(got.Entries) != 1 || string(got.Entries[0].Value) != "value of a" || got.Entries[0].Flags != 42 {
		t.Fatalf("got %+v", got.Entries)
	}
	if got.Index != got.Entries[0].ModifyIndex || !got.KnownLeader {
		t.Errorf("meta %+v of an entry with index %d", got.QueryMeta, got.Entries[0].ModifyIndex)
	}
	at := got.Entries[0].RaftIndex
	if apply(structs.KVCAS, structs.DirEntry{Key: prefix + "a", RaftIndex: structs.RaftIndex{ModifyIndex: at.ModifyIndex + 99}}) {
		t.Error("cas with a wrong index answers true")
	}
	if !apply(structs.KVCAS, structs.DirEntry{Key: prefix + "a", Value: []byte("new"), RaftIndex: at}) {
		t.Error("cas with the right index answers false")
	}
	var list structs.IndexedDirEntries
	call("List", &structs.KeyRequest{Key: prefix + "b/"}, &list)
	if len(list.Entries) != 2 || list.Entries[1].Key != prefix+"b/d" {
		t.Errorf("list: got %+v", list.Entries)
	}
	var keys structs.IndexedKeyList
	call("ListKeys", &structs.KeyListRequest{Datacenter: "dc1", Prefix: prefix, Seperator: "/"}, &keys)
	if want := []string{prefix + "a", prefix + "b/"}; !slices.Equal(keys.Keys, want) {
		t.Errorf("keys: got %q, want %q", keys.Keys, want)
	}
	var missing structs.IndexedDirEntries
	call("Get", &structs.KeyRequest{Key: prefix + "nothing"}, &missing)
	if missing.Entries != nil || missing.Index == 0 {
		t.Errorf("missing key: got %+v", missing)
	}
	apply(structs.KVDeleteTree, structs.DirEntry{Key: prefix})
}

func TestYamuxStreams(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	session := dialYamux(t, s)
	var streams sync.WaitGroup
	for i := range 50 {
		streams.Go(func() {
			stream, err := session.Open()
			if err != nil {
				t.Error(err)
				return
			}
			c := plainClient(t, stream, nil)
			for j := range 20 {
				key := fmt.Sprintf("stream/%d", i)
				var done bool
				entry := structs.DirEntry{Key: key, Value: fmt.Append(nil, j)}
				if err := c.Call("KVS.Apply", &structs.KVSRequest{Op: structs.KVSet, DirEnt: entry}, &done); err != nil {
					t.Error(err)
				}
				var got structs.IndexedDirEntries
				if err := c.Call("KVS.Get", &structs.KeyRequest{Key: key}, &got); err != nil {
					t.Error(err)
				} else if string(got.Entries[0].Value) != fmt.Sprint(j) {
					t.Errorf("%s is %s after writing %d", key, got.Entries[0].Value, j)
				}
			}
		})
	}
	streams.Wait()
}

func TestErrorReplies(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := dialRPC(t, s)
	empty := map[string]any{}
	for seq, c := range []struct {
		method string
		body   any
		want   string
		code   structs.Code
	}{
		{"Nope.Method", empty, "rpc: can't find service Nope.Method", structs.UnknownMethod},
		{"KVS.Nope", empty, "rpc: can't find method KVS.Nope", structs.UnknownMethod},
		{"KV.Nope", empty, "rpc: can't find method KV.Nope", structs.UnknownMethod},
		{"A.KV.Get", empty, "rpc: can't find service A.KV.Get", structs.UnknownMethod},
		{"KV.Get.A", empty, "rpc: can't find service KV.Get.A", structs.UnknownMethod},
		{"Nope", empty, "rpc: service/method request ill-formed: Nope", structs.UnknownMethod},
		{"", empty, "rpc: service/method request ill-formed: ", structs.UnknownMethod},
		{"KVS.Get", map[string]any{"Datacenter": "dc2"}, "No path to datacenter", structs.NoPath},
		{"KVS.Apply", map[string]any{"Op": "set"}, "Must provide key", structs.Invalid},
		{"KVS.Apply", map[string]any{"Op": "lick", "DirEnt": map[string]any{"Key": "a"}}, "unknown KV operation: lick", structs.Invalid},
		{"KVS.Apply", empty, "unknown KV operation: ", structs.Invalid},
	} {
		r.send(uint64(seq), c.method, c.body)
		got := r.receive(nil)
		want := wire.Response{Error: c.want, Code: c.code, Seq: uint64(seq), ServiceMethod: c.method}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", c.method, got, want)
		}
	}
	r.send(99, "Status.Ping", nil)
	if got := r.receive(nil); got.Error != "" || got.Seq != 99 {
		t.Errorf("ping after errors: got %+v", got)
	}
}

// A read that finds nothing in an empty table still has an index to wait for.
func TestIndexIsNeverZero(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := dialRPC(t, s)
	for _, method := range []string{"KVS.Get", "KVS.List", "KVS.ListKeys"} {
		r.send(1, method, map[string]any{})
		var reply struct{ Index uint64 }
		if header := r.receive(&reply); header.Error != "" || reply.Index == 0 {
			t.Errorf("%s: got %+v, index %d", method, header, reply.Index)
		}
	}
}

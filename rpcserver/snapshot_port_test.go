package rpcserver_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"praetor/rpcserver"
	"praetor/rpcserver/wire"
	"praetor/structs"
)

// snapshotRPC makes the exchange of consul-wire.md 7.3 and returns the reply
// and what follows it.
func snapshotRPC(t *testing.T, s *rpcserver.Server, q map[string]any, archive []byte) (structs.SnapshotResponse, []byte) {
	t.Helper()
	hello, err := structs.AppendValue([]byte{wire.ByteSnapshot}, q)
	if err != nil {
		t.Fatal(err)
	}
	conn := dialRaw(t, s, append(hello, archive...)...)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, conn)
	value, err := structs.ReadValue(r.in, nil, 64<<10)
	if err != nil {
		t.Fatalf("reply: %v", err)
	}
	var reply structs.SnapshotResponse
	if err := structs.DecodeValue(value, &reply); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r.in)
	if err != nil {
		t.Fatalf("after the reply: %v", err)
	}
	return reply, rest
}

func TestSnapshotPort(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	kv, ctx := newClient(t, s).KV(), context.Background()
	if err := kv.Put(ctx, "kept", []byte("1")); err != nil {
		t.Fatal(err)
	}
	at := s.Raft().AppliedIndex()
	reply, archive := snapshotRPC(t, s, map[string]any{"Datacenter": "dc1"}, nil)
	if reply.Error != "" || reply.Index != at || !reply.KnownLeader {
		t.Fatalf("save: got %+v, want index %d", reply, at)
	}
	if _, stale := snapshotRPC(t, s, map[string]any{"Datacenter": "dc1", "AllowStale": true}, nil); len(stale) == 0 {
		t.Error("stale save: no archive")
	}
	if err := kv.Put(ctx, "lost", nil); err != nil {
		t.Fatal(err)
	}
	reply, rest := snapshotRPC(t, s, map[string]any{"Datacenter": "dc1", "Op": 1}, archive)
	if reply.Error != "" || len(rest) > 0 {
		t.Fatalf("restore: got %+v and %d bytes", reply, len(rest))
	}
	if entry, _, err := kv.Get(ctx, "kept", nil); err != nil || string(entry.Value) != "1" {
		t.Errorf("after the restore: got %v, %v", entry, err)
	}
	if entry, _, err := kv.Get(ctx, "lost", nil); err != nil || entry != nil {
		t.Errorf("key written after the save: got %v, %v", entry, err)
	}
}

func TestSnapshotPortRefuses(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	kv := newClient(t, s).KV()
	if err := kv.Put(context.Background(), "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	_, archive := snapshotRPC(t, s, map[string]any{"Datacenter": "dc1"}, nil)
	damaged := bytes.Clone(archive)
	damaged[len(damaged)/2] ^= 1
	for name, c := range map[string]struct {
		q       map[string]any
		archive []byte
		text    string // "" for any
		code    structs.Code
	}{
		"no datacenter":      {map[string]any{}, nil, "No path to datacenter", structs.NoPath},
		"another datacenter": {map[string]any{"Datacenter": "dc2"}, nil, "No path to datacenter", structs.NoPath},
		"stale restore":      {map[string]any{"Datacenter": "dc1", "Op": 1, "AllowStale": true}, archive, "stale not allowed for restore", structs.Invalid},
		"op 7":               {map[string]any{"Datacenter": "dc1", "Op": 7}, nil, "unrecognized snapshot op 7", structs.Invalid},
		"no archive":         {map[string]any{"Datacenter": "dc1", "Op": 1}, nil, "", structs.Corrupt},
		"junk":               {map[string]any{"Datacenter": "dc1", "Op": 1}, []byte("not a snapshot"), "", structs.Corrupt},
		"cut short":          {map[string]any{"Datacenter": "dc1", "Op": 1}, archive[:len(archive)-20], "", structs.Corrupt},
		"one bit wrong":      {map[string]any{"Datacenter": "dc1", "Op": 1}, damaged, "", structs.Corrupt},
		"8 MB of junk":       {map[string]any{"Datacenter": "dc1", "Op": 1}, make([]byte, 8<<20), "", structs.Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			reply, rest := snapshotRPC(t, s, c.q, c.archive)
			if reply.Error == "" || reply.Code != c.code || c.text != "" && reply.Error != c.text {
				t.Errorf("got code %d, %q; want code %d, %q", reply.Code, reply.Error, c.code, c.text)
			}
			if len(rest) > 0 {
				t.Errorf("%d bytes after the error", len(rest))
			}
		})
	}
	if entry, _, err := kv.Get(context.Background(), "a", nil); err != nil || entry == nil {
		t.Errorf("after all that: got %v, %v", entry, err)
	}
}

// A request that makes no sense is not answered at all.
func TestSnapshotPortJunk(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, junk := range []string{"\xc1", "\x93\x01\x02", "\xdb\xff\xff\xff\xff", "\x85"} {
		conn := dialRaw(t, s, append([]byte{wire.ByteSnapshot}, junk...)...)
		conn.CloseWrite()
		newRaw(t, conn).mustEnd()
	}
}

// The bytes of consul-wire.md 14.4, as captured from a real server.
func TestGoldenSnapshot(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	fillTo(t, s, 0x2c)
	conn := dialRaw(t, s)
	mustAnswer(t, conn, unhex(t, `
		05 84 aa416c6c6f775374616c65c2 aa4461746163656e746572a3646331 a24f7000 a5546f6b656ea0`), unhex(t, `
		89 a74261636b656e6400 b0436f6e73697374656e63794c6576656ca0 `+epochHex(s)+` a54572726f72a0 a5496e6465782b
		ab4b6e6f776e4c6561646572c3 ab4c617374436f6e7461637400 ab4e6f744d6f646966696564c2
		b5526573756c747346696c7465726564427941434c73c2 1f8b08`))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("archive: %v", err)
	}
}

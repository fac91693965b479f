package rpcserver_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
)

// fillTo writes until the next raft index is index, once the leader has written
// what it writes by itself.
func fillTo(t *testing.T, s *rpcserver.Server, index uint64) {
	t.Helper()
	testutil.Eventually(t, time.Minute, "the server is in its catalog", func() error {
		var reply structs.IndexedNodeServices
		err := s.Call(context.Background(), "Catalog.NodeServices", &structs.NodeSpecificRequest{Datacenter: "dc1", Node: "alone"}, &reply)
		if err == nil && (reply.NodeServices == nil || len(reply.NodeServices.Services) == 0) {
			err = structs.ErrNoLeader
		}
		return err
	})
	for {
		next := s.Raft().LastIndex() + 1
		if next == index {
			return
		}
		if next > index {
			t.Fatalf("the next index is %d already, want %d", next, index)
		}
		var done bool
		fill := structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "fill"}}
		if err := s.Call(context.Background(), "KV.Apply", &fill, &done); err != nil {
			t.Fatal(err)
		}
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mustAnswer sends bytes and fails unless the reply begins with others.
func mustAnswer(t *testing.T, conn net.Conn, send, want []byte) {
	t.Helper()
	if _, err := conn.Write(send); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("got %x and then %v", got[:n], err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// epochHex is the key that replies of ours have and Consul's do not.
func epochHex(s *rpcserver.Server) string {
	return "a5 45706f6368 da0024" + hex.EncodeToString([]byte(s.Epoch()))
}

// The bytes of consul-wire.md 14.3, as captured from a real server.
func TestGoldenGet(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	fillTo(t, s, 0x13)
	var done bool
	set := structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "demo/a", Value: []byte("hello"), Flags: 42}}
	if err := s.Call(context.Background(), "KV.Apply", &set, &done); err != nil {
		t.Fatal(err)
	}
	conn := dialRaw(t, s)
	mustAnswer(t, conn, unhex(t, `
		00 82 a3 536571 01 ad 536572766963654d6574686f64 a7 4b56532e476574
		8e b8 416c6c6f774e6f744d6f646966696564526573706f6e7365 c2 aa 416c6c6f775374616c65 c2
		aa 4461746163656e746572 a3 646331 a6 46696c746572 a0 a3 4b6579 a6 64656d6f2f61
		a6 4d6178416765 00 ac 4d6178517565727954696d65 00 b0 4d61785374616c654475726174696f6e 00
		ad 4d696e5175657279496e646578 00 ae 4d757374526576616c6964617465 c2
		b1 52657175697265436f6e73697374656e74 c2 ac 5374616c6549664572726f72 00
		a5 546f6b656e a0 a8 5573654361636865 c2`), unhex(t, `
		83 a5 4572726f72 a0 a3 536571 01 ad 536572766963654d6574686f64 a7 4b56532e476574
		89 a7 4261636b656e64 00 b0 436f6e73697374656e63794c6576656c a0 a7 456e7472696573 91
		87 ab437265617465496e64657813 a5466c6167732a a34b6579a664656d6f2f61 a94c6f636b496e64657800
		ab4d6f64696679496e64657813 a753657373696f6ea0 a556616c7565a568656c6c6f
		`+epochHex(s)+` a5 496e646578 13 ab 4b6e6f776e4c6561646572 c3 ab 4c617374436f6e74616374 00
		ab 4e6f744d6f646966696564 c2 b5 526573756c747346696c7465726564427941434c73 c2`))

	// An unknown service. Ours adds a code to the header, as first key.
	mustAnswer(t, conn, unhex(t, `82 a3 536571 07 ad 536572766963654d6574686f64 ab 4e6f70652e4d6574686f64 80`),
		append(unhex(t, `84 a4 436f6465 08 a5 4572726f72 da0023`), slices.Concat(
			[]byte("rpc: can't find service Nope.Method"),
			unhex(t, `a3 536571 07 ad 536572766963654d6574686f64 ab 4e6f70652e4d6574686f64 80`))...))
}

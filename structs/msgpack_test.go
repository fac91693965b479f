package structs_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/structs"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes are those of consul-wire.md section 14, captured from a real server.
func TestGoldenEncoding(t *testing.T) {
	t.Parallel()
	entry := structs.DirEntry{Key: "demo/a", Flags: 42, Value: []byte("hello")}
	stored := entry
	stored.RaftIndex = structs.RaftIndex{CreateIndex: 0x13, ModifyIndex: 0x13}
	for _, test := range []struct {
		name string
		v    any
		want string
	}{
		{"14.1 KVS command", &structs.KVSRequest{Datacenter: "dc1", Op: structs.KVSet, DirEnt: entry}, `84
			aa 44617461 63656e746572 a3 646331 a6 446972456e74 87
			ab 437265617465496e646578 00 a5 466c616773 2a a3 4b6579 a6 64656d6f2f61
			a9 4c6f636b496e646578 00 ab 4d6f64696679496e646578 00 a7 53657373696f6e a0
			a5 56616c7565 a5 68656c6c6f a2 4f70 a3 736574 a5 546f6b656e a0`},
		{"14.2 header", &structs.SnapshotHeader{LastIndex: 33}, `81 a9 4c617374496e646578 21`},
		{"14.2 KV", &stored, `87 ab437265617465496e64657813 a5466c6167732a a34b6579a664656d6f2f61
			a94c6f636b496e64657800 ab4d6f64696679496e64657813 a753657373696f6ea0 a556616c7565a568656c6c6f`},
		{"14.2 metadata", &structs.MetadataEntry{Key: "virtual-ips", Value: "true", RaftIndex: structs.RaftIndex{CreateIndex: 10, ModifyIndex: 10}},
			`84 ab437265617465496e6465780a a34b6579ab7669727475616c2d697073 ab4d6f64696679496e6465780a a556616c7565a474727565`},
		{"14.2 chunks", &structs.ChunkingState{ChunkMap: map[uint64][]*structs.Chunk{}}, `81 a84368756e6b4d6170 80`},
		{"14.3 KVS.Get request", &structs.KeyRequest{Datacenter: "dc1", Key: "demo/a"}, `
			8e b8 416c6c6f774e6f744d6f646966696564526573706f6e7365 c2 aa 416c6c6f775374616c65 c2
			aa 44617461 63656e746572 a3 646331 a6 46696c746572 a0 a3 4b6579 a6 64656d6f2f61
			a6 4d6178416765 00 ac 4d6178517565727954696d65 00 b0 4d61785374616c654475726174696f6e 00
			ad 4d696e5175657279496e646578 00 ae 4d757374526576616c6964617465 c2
			b1 52657175697265436f6e73697374656e74 c2 ac 5374616c6549664572726f72 00
			a5 546f6b656e a0 a8 5573654361636865 c2`},
		{"14.4 snapshot request", &structs.SnapshotRequest{Datacenter: "dc1"},
			`84 aa416c6c6f775374616c65c2 aa44617461 63656e746572a3646331 a24f7000 a5546f6b656ea0`},
		{"14.4 snapshot response", &structs.SnapshotResponse{QueryMeta: structs.QueryMeta{Index: 0x2b, KnownLeader: true}},
			`88 a74261636b656e6400 b0436f6e73697374656e63794c6576656ca0 a54572726f72a0 a5496e6465782b
			ab4b6e6f776e4c6561646572c3 ab4c617374436f6e7461637400 ab4e6f744d6f646966696564c2
			b5526573756c747346696c7465726564427941434c73c2`},
		{"14.5 time", time.Unix(0xee295951d-62135596800, 0x312fe27c).In(time.FixedZone("", 0)), `af 01 0000000ee295951d 312fe27c 0000`},
		{"duration", 15 * time.Second, `cf 000000037e11d600`},
		{"str16, never str8", strings.Repeat("x", 36), `da 0024` + strings.Repeat("78", 36)},
	} {
		got, err := structs.AppendValue(nil, test.v)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(hex.EncodeToString(unhex(t, test.want)), hex.EncodeToString(got)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.name, diff)
		}
	}
}

func TestEncodeCommandHasTypeByte(t *testing.T) {
	t.Parallel()
	c := &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "k", Value: []byte("v")}}
	b, err := structs.EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	if b[0] != 2 || cap(b) != len(b) {
		t.Errorf("got type %d with %d spare bytes, want 2 and none", b[0], cap(b)-len(b))
	}
	var back structs.KVSRequest
	if err := structs.DecodeValue(b[1:], &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, &back); diff != "" {
		t.Errorf("round trip: %s", diff)
	}
}

func TestDecodeValueRefuses(t *testing.T) {
	t.Parallel()
	good, _ := structs.AppendValue(nil, &structs.KeyRequest{Key: "k"})
	for name, b := range map[string][]byte{
		"empty": nil, "cut short": good[:len(good)-1], "left over": append(bytes.Clone(good), 0xc0),
		"another type": {0xa1, 'x'}, "not msgpack": {0xc1},
	} {
		if err := structs.DecodeValue(b, new(structs.KeyRequest)); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("%s: got %v, want code Invalid", name, err)
		}
	}
}

func TestReadValueStopsAtTheBoundary(t *testing.T) {
	t.Parallel()
	var stream []byte
	values := []any{1, "text", strings.Repeat("y", 70000), []int{1, 2, 3}, map[string]any{"a": nil, "b": 1.5}, &structs.KeyRequest{}, time.Now()}
	for _, v := range values {
		stream, _ = structs.AppendValue(stream, v)
	}
	r := bufio.NewReader(bytes.NewReader(stream))
	var got []byte
	for i := range values {
		one, err := structs.ReadValue(r, nil, 1<<20)
		if err != nil {
			t.Fatalf("value %d: %v", i, err)
		}
		got = append(got, one...)
	}
	if !bytes.Equal(got, stream) {
		t.Error("values read one by one are not the stream")
	}
	if _, err := structs.ReadValue(r, nil, 10); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
}

func TestReadValueRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		in   []byte
		code structs.Code
		err  error
	}{
		{"huge declared string", []byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'x'}, structs.TooLarge, nil},
		{"huge declared array", append([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}, make([]byte, 2000)...), structs.TooLarge, nil},
		{"too deep", bytes.Repeat([]byte{0x91}, 500), structs.Invalid, nil},
		{"not msgpack", []byte{0xc1}, structs.Invalid, nil},
		{"cut short", []byte{0x82, 0xa1, 'x'}, 0, io.ErrUnexpectedEOF},
		{"cut inside a string", []byte{0xa5, 'x'}, 0, io.ErrUnexpectedEOF},
	} {
		_, err := structs.ReadValue(bytes.NewReader(test.in), nil, 1000)
		if test.err != nil && err != test.err || test.err == nil && !structs.IsCode(err, test.code) {
			t.Errorf("%s: got %v, want code %d or %v", test.name, err, test.code, test.err)
		}
	}
}

// FuzzReadValue checks that a value that the scanner lets through is read to
// the same end by the decoder, and that nothing makes either panic.
func FuzzReadValue(f *testing.F) {
	kv, _ := structs.AppendValue(nil, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "k", Value: []byte("v")}})
	f.Add(kv)
	f.Add([]byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'x'})
	f.Add([]byte{0x91, 0x91, 0x91, 0xc0})
	f.Add([]byte{0xc7, 3, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		value, err := structs.ReadValue(r, nil, 1<<16)
		if err != nil {
			return
		}
		if len(value)+r.Len() != len(in) || !bytes.HasPrefix(in, value) {
			t.Fatalf("read %x of %x", value, in)
		}
		var command structs.KVSRequest
		_ = structs.DecodeValue(value, &command)
		var anything any
		_ = structs.DecodeValue(value, &anything)
	})
}

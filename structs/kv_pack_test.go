package structs_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-msgpack/v2/codec"
	"pgregory.net/rapid"

	"praetor/structs"
)

// packed are the messages that write and read themselves.
var packed = []any{&structs.DirEntry{}, &structs.KVSRequest{}, &structs.Fence{}, &structs.KeyRequest{}, &structs.IndexedDirEntries{},
	&structs.TxnRequest{}, &structs.TxnResponse{}, &structs.TxnReadResponse{}}

var kvPointer = reflect.TypeFor[*structs.TxnKVOp]()

// fill gives every field, at any depth, a random value.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Pointer && (v.Field(i).Type() != kvPointer && rapid.IntRange(0, 3).Draw(t, "some") > 0 || rapid.Bool().Draw(t, "none")) {
				continue // mostly keys, which we read ourselves
			}
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		if rapid.Bool().Draw(t, "nil") {
			return
		}
		n := rapid.SampledFrom([]int{0, 1, 15, 16, 31, 32, 300}).Draw(t, "n")
		if v.Type().Elem().Kind() == reflect.Uint8 {
			n = rapid.SampledFrom([]int{1, 31, 32, 255, 256, 70000}).Draw(t, "bytes")
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range min(n, 2) {
				fill(t, v.Index(i))
			}
			for i := 2; i < n; i++ {
				v.Index(i).Set(v.Index(i % 2))
			}
		}
	case reflect.String:
		v.SetString(rapid.StringN(-1, -1, 300).Draw(t, "s"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "b"))
	case reflect.Map: // the codec writes these
	case reflect.Uint, reflect.Uint64:
		v.SetUint(rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64()).Draw(t, "u"))
	case reflect.Int64, reflect.Int:
		v.SetInt(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, "i"))
	default:
		t.Fatalf("a field of kind %v", v.Kind())
	}
}

// What a message writes itself is what the codec writes, and what it reads
// itself is what the codec reads.
func TestPackedIsAsTheCodec(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kind := reflect.TypeOf(rapid.SampledFrom(packed).Draw(t, "message")).Elem()
		message := reflect.New(kind)
		fill(t, message.Elem())
		var want []byte
		if err := codec.NewEncoderBytes(&want, structs.Handle).Encode(message.Interface()); err != nil {
			t.Fatal(err)
		}
		got, err := structs.AppendValue(nil, message.Interface())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v: got %x, %v, the codec %x", kind, got, err, want)
		}
		ours, theirs := reflect.New(kind), reflect.New(kind)
		if err := structs.DecodeValue(want, ours.Interface()); err != nil {
			t.Fatal(err)
		}
		if err := codec.NewDecoderBytes(want, structs.Handle).Decode(theirs.Interface()); err != nil {
			t.Fatal(err)
		}
		if reflect.DeepEqual(theirs.Interface(), ours.Interface()) {
			return // a hundred times faster than to look for a difference
		}
		if diff := cmp.Diff(theirs.Interface(), ours.Interface()); diff != "" {
			t.Fatalf("%v: (-codec +ours) %s", kind, diff)
		}
	})
}

// Who reads a reply without rows into one that has some is left with none.
func TestNoRowsReplaceRows(t *testing.T) {
	t.Parallel()
	for _, reply := range []struct{ none, some any }{
		{&structs.IndexedDirEntries{}, &structs.IndexedDirEntries{Entries: []*structs.DirEntry{{Key: "k"}}}},
		{&structs.TxnResponse{}, &structs.TxnResponse{Errors: []structs.TxnError{{What: "why"}}}},
	} {
		b, err := structs.AppendValue(nil, reply.none)
		if err != nil {
			t.Fatal(err)
		}
		if err := structs.DecodeValue(b, reply.some); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(reply.none, reply.some); diff != "" {
			t.Errorf("(-want +got) %s", diff)
		}
	}
}

// A message with a key we do not know, as Consul Enterprise sends them, is read
// all the same.
func TestUnknownKeysAreLookedPast(t *testing.T) {
	t.Parallel()
	b, err := structs.AppendValue(nil, map[string]any{"Op": "set", "Namespace": "default", "DirEnt": map[string]any{"Key": "k", "Partition": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	var c structs.KVSRequest
	if err := structs.DecodeValue(b, &c); err != nil || c.DirEnt.Key != "k" || c.Op != structs.KVSet {
		t.Errorf("got %+v, %v, want the key and the operation", c, err)
	}
}

// FuzzPacked checks that reading a message ourselves agrees with the codec on
// any bytes that both take.
func FuzzPacked(f *testing.F) {
	for _, message := range packed {
		b, _ := structs.AppendValue(nil, message)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, message := range packed {
			kind := reflect.TypeOf(message).Elem()
			ours, theirs := reflect.New(kind), reflect.New(kind)
			if structs.DecodeValue(b, ours.Interface()) != nil {
				continue
			}
			if err := codec.NewDecoderBytes(b, structs.Handle).Decode(theirs.Interface()); err != nil {
				t.Fatalf("%v: we read %x, the codec says %v", kind, b, err)
			}
			if diff := cmp.Diff(theirs.Interface(), ours.Interface()); diff != "" {
				t.Fatalf("%v: %x (-codec +ours) %s", kind, b, diff)
			}
		}
	})
}

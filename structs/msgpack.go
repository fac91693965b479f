package structs

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"praetor/structs/pack"
)

// Handle is the msgpack dialect of the raft log, of snapshots and of RPC: byte
// for byte what Consul writes. Structs are maps with sorted keys, only `codec`
// tags count (JSON tags would rename keys), strings and bytes use the old raw
// forms, times are the 15 bytes of time.MarshalBinary.
var Handle = newHandle()

func newHandle() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{}
	h.RawToString = true
	h.MapType = reflect.TypeFor[map[string]any]()
	h.TypeInfos = codec.NewTypeInfos([]string{"codec"})
	h.PositiveIntUnsigned = true
	h.TimeNotBuiltin = true
	h.Canonical = true // maps in key order, so that equal states have equal snapshots
	h.MaxDepth = maxDepth
	return h
}

// An encoder or decoder costs kilobytes to make, so they are kept.
var (
	marshalers = sync.Pool{New: func() any {
		m := &marshaler{}
		m.enc = codec.NewEncoderBytes(&m.buf, Handle)
		return m
	}}
	decoders = sync.Pool{New: func() any { return codec.NewDecoderBytes(nil, Handle) }}
)

// packer is a message that writes itself; see kv_pack.go.
type packer interface{ appendPack([]byte) []byte }

// unpacker is a message that reads itself, or returns false and leaves it to
// the codec.
type unpacker interface{ readPack(*pack.Reader) bool }

// marshaler is an encoder with the buffer it writes to.
type marshaler struct {
	enc *codec.Encoder
	buf []byte
}

// keepBuffer is the largest buffer in bytes that goes back to the pool, so that
// one large value does not stay in memory for ever.
const keepBuffer = 64 << 10

// marshal returns v as one msgpack value in a pooled buffer: release it.
func marshal(v any) (*marshaler, error) {
	m := marshalers.Get().(*marshaler)
	if p, ok := v.(packer); ok {
		m.buf = p.appendPack(m.buf[:0])
		return m, nil
	}
	m.enc.ResetBytes(&m.buf)
	if err := m.enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return m, nil
}

func (m *marshaler) release() {
	if cap(m.buf) <= keepBuffer {
		marshalers.Put(m)
	}
}

// AppendValue appends v as one msgpack value to dst and returns the longer
// slice. It fails only for a type that msgpack cannot show, which is a bug.
func AppendValue(dst []byte, v any) ([]byte, error) {
	if p, ok := v.(packer); ok {
		return p.appendPack(dst), nil
	}
	m, err := marshal(v)
	if err != nil {
		return dst, err
	}
	dst = append(dst, m.buf...)
	m.release()
	return dst, nil
}

// DecodeValue reads the one msgpack value in b into v. Bytes and strings are
// copied, so b may be used again. Junk, a value cut short and bytes left over
// are errors with code Invalid.
func DecodeValue(b []byte, v any) error {
	if u, ok := v.(unpacker); ok {
		if r := (pack.Reader{Rest: b}); u.readPack(&r) && len(r.Rest) == 0 {
			return nil
		}
		reflect.ValueOf(v).Elem().SetZero()
	}
	dec := decoders.Get().(*codec.Decoder)
	dec.ResetBytes(b)
	err := dec.Decode(v)
	read := dec.NumBytesRead()
	dec.ResetBytes(nil)
	decoders.Put(dec)
	if err != nil {
		return Errorf(Invalid, "decode %T: %v", v, err)
	}
	if read != len(b) {
		return Errorf(Invalid, "decode %T: %d bytes left over", v, len(b)-read)
	}
	return nil
}

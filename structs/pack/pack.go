// Package pack writes and reads the few msgpack forms that Praetor's hot
// messages consist of, without reflection. The bytes are those that the codec
// of package structs gives; tests hold the two against each other.
package pack

import (
	"encoding/binary"
	"math"
)

// AppendMap begins a map of n pairs, n below 65536.
func AppendMap(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x80|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
}

// AppendArray begins an array of n values.
func AppendArray(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, 0x90|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
}

func appendLength(b []byte, n int) []byte {
	switch {
	case n < 32:
		return append(b, 0xa0|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
}

// AppendString appends a string in the old raw form, which knows no str8.
func AppendString(b []byte, s string) []byte { return append(appendLength(b, len(s)), s...) }

// AppendBytes appends bytes in the same form; nil is nil.
func AppendBytes(b, v []byte) []byte {
	if v == nil {
		return append(b, 0xc0)
	}
	return append(appendLength(b, len(v)), v...)
}

// AppendUint appends the shortest unsigned form.
func AppendUint(b []byte, n uint64) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), n)
}

// AppendInt appends the shortest form, unsigned if n is not negative.
func AppendInt(b []byte, n int64) []byte {
	switch {
	case n >= 0:
		return AppendUint(b, uint64(n))
	case n >= -32:
		return append(b, byte(n))
	case n >= math.MinInt8:
		return append(b, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
}

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

// Reader reads values from the front of its bytes. A value of another form than
// asked for, or one cut short, sets Failed, after which nothing more is read:
// look once, at the end.
type Reader struct {
	Rest   []byte
	Failed bool
}

func (r *Reader) fail() {
	r.Failed = true
	r.Rest = nil
}

func (r *Reader) take(n int) []byte {
	if n < 0 || n > len(r.Rest) {
		r.fail()
		return nil
	}
	taken := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return taken
}

func (r *Reader) first() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0xc1 // a byte that begins no value
}

// number reads a big-endian number of so many bytes.
func (r *Reader) number(width int) (n uint64) {
	for _, b := range r.take(width) {
		n = n<<8 | uint64(b)
	}
	return n
}

// Map reads the beginning of a map and returns how many pairs follow.
func (r *Reader) Map() int {
	switch b := r.first(); {
	case b&0xf0 == 0x80:
		return int(b & 0x0f)
	case b == 0xde:
		return int(r.number(2))
	}
	r.fail()
	return 0
}

// Array reads the beginning of an array and returns how many values follow, at
// most as many as there are bytes left; -1 stands for nil.
func (r *Reader) Array() int {
	var n int
	switch b := r.first(); {
	case b&0xf0 == 0x90:
		n = int(b & 0x0f)
	case b == 0xdc:
		n = int(r.number(2))
	case b == 0xdd:
		n = int(r.number(4))
	case b == 0xc0:
		return -1
	default:
		r.fail()
	}
	if n > len(r.Rest) {
		r.fail()
		return 0
	}
	return n
}

// Bytes reads a string or bytes in any form. What it returns is part of Rest:
// copy it. nil stands for nil.
func (r *Reader) Bytes() []byte {
	switch b := r.first(); {
	case b&0xe0 == 0xa0:
		return r.take(int(b & 0x1f))
	case b == 0xd9, b == 0xc4:
		return r.take(int(r.number(1)))
	case b == 0xda, b == 0xc5:
		return r.take(int(r.number(2)))
	case b == 0xdb, b == 0xc6:
		return r.take(int(r.number(4)))
	case b == 0xc0:
		return nil
	}
	r.fail()
	return nil
}

// String reads a string.
func (r *Reader) String() string { return string(r.Bytes()) }

// Uint reads a number that is not negative.
func (r *Reader) Uint() uint64 {
	switch b := r.first(); {
	case b < 0x80:
		return uint64(b)
	case b >= 0xcc && b <= 0xcf:
		return r.number(1 << (b - 0xcc))
	}
	r.fail()
	return 0
}

// Int reads a number that fits into an int64.
func (r *Reader) Int() int64 {
	if len(r.Rest) > 0 {
		switch b := r.Rest[0]; {
		case b >= 0xe0:
			r.first()
			return int64(int8(b))
		case b >= 0xd0 && b <= 0xd3:
			r.first()
			width := 1 << (b - 0xd0)
			unused := 64 - 8*width
			return int64(r.number(width)<<unused) >> unused
		}
	}
	n := r.Uint()
	if n > math.MaxInt64 {
		r.fail()
		return 0
	}
	return int64(n)
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	switch r.first() {
	case 0xc3:
		return true
	case 0xc2:
		return false
	}
	r.fail()
	return false
}

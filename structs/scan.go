package structs

import (
	"encoding/binary"
	"io"
)

// maxDepth is how deep msgpack arrays and maps may nest in what we read. Our
// own deepest message has fewer than ten levels.
const maxDepth = 64

// ByteReader is what ReadValue reads from; *bufio.Reader is one.
type ByteReader interface {
	io.Reader
	io.ByteReader
}

// ReadValue appends exactly one msgpack value from r to buf and returns the
// longer slice, reading no byte beyond it. The value is checked for form, not
// for meaning. At most limit bytes are kept: a longer value, and one that nests
// deeper than any message of ours, is an error with code TooLarge or Invalid,
// after which the stream is no longer at a value boundary. Memory grows with
// the bytes that arrive, never with a length that is only declared.
//
// A clean end of the stream before the first byte is io.EOF; one inside the
// value is io.ErrUnexpectedEOF.
func ReadValue(r ByteReader, buf []byte, limit int) ([]byte, error) {
	s := scanner{r: r, buf: buf, left: limit, limit: limit}
	first, err := r.ReadByte()
	if err != nil {
		return buf, err
	}
	if err := s.value(first, 0); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return s.buf, err
	}
	return s.buf, nil
}

type scanner struct {
	r           ByteReader
	buf         []byte
	left, limit int
}

// value reads the rest of a value whose first byte is b.
func (s *scanner) value(b byte, depth int) error {
	if depth > maxDepth {
		return Errorf(Invalid, "msgpack nests deeper than %d levels", maxDepth)
	}
	if err := s.keep(b); err != nil {
		return err
	}
	switch {
	case b <= 0x7f, b >= 0xe0: // small integers
		return nil
	case b <= 0x8f: // map of up to 15 pairs
		return s.values(2*uint64(b&0x0f), depth)
	case b <= 0x9f: // array of up to 15
		return s.values(uint64(b&0x0f), depth)
	case b <= 0xbf: // string of up to 31 bytes
		return s.bytes(uint64(b & 0x1f))
	}
	switch b {
	case 0xc0, 0xc2, 0xc3: // nil, false, true
		return nil
	case 0xcc, 0xd0:
		return s.bytes(1)
	case 0xcd, 0xd1:
		return s.bytes(2)
	case 0xca, 0xce, 0xd2:
		return s.bytes(4)
	case 0xcb, 0xcf, 0xd3:
		return s.bytes(8)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // ext of 1, 2, 4, 8, 16 bytes, and its type
		return s.bytes(1 + 1<<(b-0xd4))
	case 0xc4, 0xd9, 0xc7:
		return s.sized(1, b == 0xc7, depth, s.blob)
	case 0xc5, 0xda, 0xc8:
		return s.sized(2, b == 0xc8, depth, s.blob)
	case 0xc6, 0xdb, 0xc9:
		return s.sized(4, b == 0xc9, depth, s.blob)
	case 0xdc:
		return s.sized(2, false, depth, s.values)
	case 0xdd:
		return s.sized(4, false, depth, s.values)
	case 0xde:
		return s.sized(2, false, depth, s.pairs)
	case 0xdf:
		return s.sized(4, false, depth, s.pairs)
	}
	return Errorf(Invalid, "byte 0x%02x is not msgpack", b)
}

// sized reads a length of width bytes and hands it on; ext adds its type byte.
func (s *scanner) sized(width int, ext bool, depth int, then func(uint64, int) error) error {
	start := len(s.buf)
	if err := s.bytes(uint64(width)); err != nil {
		return err
	}
	var word [8]byte
	copy(word[8-width:], s.buf[start:])
	n := binary.BigEndian.Uint64(word[:])
	if ext {
		n++
	}
	return then(n, depth)
}

func (s *scanner) blob(n uint64, _ int) error      { return s.bytes(n) }
func (s *scanner) pairs(n uint64, depth int) error { return s.values(2*n, depth) }

func (s *scanner) values(n uint64, depth int) error {
	for ; n > 0; n-- {
		b, err := s.r.ReadByte()
		if err != nil {
			return err
		}
		if err := s.value(b, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) keep(b byte) error {
	if s.left == 0 {
		return s.tooLarge()
	}
	s.left--
	s.buf = append(s.buf, b)
	return nil
}

// step bounds how far the buffer grows ahead of the bytes that arrived.
const step = 64 << 10

func (s *scanner) bytes(n uint64) error {
	if n > uint64(s.left) {
		return s.tooLarge()
	}
	s.left -= int(n)
	for n > 0 {
		part := int(min(n, step))
		start := len(s.buf)
		s.buf = append(s.buf, make([]byte, part)...)
		if got, err := io.ReadFull(s.r, s.buf[start:]); err != nil {
			s.buf = s.buf[:start+got]
			return err
		}
		n -= uint64(part)
	}
	return nil
}

func (s *scanner) tooLarge() error {
	return Errorf(TooLarge, "message is longer than %d bytes", s.limit)
}

package wire

import (
	"encoding/binary"
	"math"

	"praetor/structs"
)

// Header is the first value of a message: a *Request or a *Response.
//
//	request   {"Seq": uint, "ServiceMethod": string [, "Forwarded": true]}
//	response  {["Code": uint,] "Error": string, "Seq": uint, "ServiceMethod": string}
//
// Headers are written and read by hand, since there are two to every call. What
// is written is what structs.AppendValue would write. What is read may be any
// map that structs.DecodeValue reads: it gets what has an unusual form.
type Header interface {
	appendTo(dst []byte) []byte
	parse(b []byte) error
}

// Request is the header of a request.
type Request struct {
	Seq           uint64
	ServiceMethod string
	Forwarded     bool `codec:",omitempty"` // sent on by a server that takes us for the leader
}

// Response is the header of a response. Code is ours: Consul's clients look past it.
type Response struct {
	Error         string
	Code          structs.Code `codec:",omitempty"`
	Seq           uint64
	ServiceMethod string
}

// Empty is the body of a reply that says nothing more.
type Empty struct{}

func (h *Request) appendTo(dst []byte) []byte {
	if h.Forwarded {
		dst = append(dst, 0x83)
		dst = append(appendString(dst, "Forwarded"), 0xc3)
	} else {
		dst = append(dst, 0x82)
	}
	dst = appendUint(appendString(dst, "Seq"), h.Seq)
	return appendString(appendString(dst, "ServiceMethod"), h.ServiceMethod)
}

func (h *Response) appendTo(dst []byte) []byte {
	if h.Code != 0 {
		dst = append(dst, 0x84)
		dst = appendUint(appendString(dst, "Code"), uint64(h.Code))
	} else {
		dst = append(dst, 0x83)
	}
	dst = appendString(appendString(dst, "Error"), h.Error)
	dst = appendUint(appendString(dst, "Seq"), h.Seq)
	return appendString(appendString(dst, "ServiceMethod"), h.ServiceMethod)
}

// parse replaces h. A method of the same name as before costs no new string.
func (h *Request) parse(b []byte) error {
	method := h.ServiceMethod
	*h = Request{}
	c := cursor{b: b}
	for range c.pairs() {
		switch string(c.string()) {
		case "Seq":
			h.Seq = c.uint()
		case "ServiceMethod":
			h.ServiceMethod = c.sameString(method)
		case "Forwarded":
			h.Forwarded = c.bool()
		default:
			c.odd = true
		}
	}
	if c.odd || len(c.b) > 0 {
		*h = Request{}
		return structs.DecodeValue(b, h)
	}
	return nil
}

func (h *Response) parse(b []byte) error {
	method := h.ServiceMethod
	*h = Response{}
	c := cursor{b: b}
	for range c.pairs() {
		switch string(c.string()) {
		case "Error":
			h.Error = c.sameString("")
		case "Code":
			code := c.uint()
			c.odd = c.odd || code > math.MaxUint16
			h.Code = structs.Code(code)
		case "Seq":
			h.Seq = c.uint()
		case "ServiceMethod":
			h.ServiceMethod = c.sameString(method)
		default:
			c.odd = true
		}
	}
	if c.odd || len(c.b) > 0 {
		*h = Response{}
		return structs.DecodeValue(b, h)
	}
	return nil
}

func appendString(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}

func appendUint(dst []byte, n uint64) []byte {
	switch {
	case n < 128:
		return append(dst, byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
}

// cursor walks over the usual forms of msgpack. At anything else odd is set,
// and what it returns from then on means nothing.
type cursor struct {
	b   []byte
	odd bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.odd = true
		n = len(c.b)
	}
	taken := c.b[:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) byte() byte {
	if b := c.take(1); len(b) == 1 {
		return b[0]
	}
	return 0xc1 // which is nothing in msgpack
}

func (c *cursor) bigEndian(width int) (n uint64) {
	for _, b := range c.take(width) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (c *cursor) pairs() int {
	b := c.byte()
	c.odd = c.odd || b&0xf0 != 0x80
	return int(b & 0x0f)
}

func (c *cursor) string() []byte {
	switch b := c.byte(); {
	case b&0xe0 == 0xa0:
		return c.take(int(b & 0x1f))
	case b == 0xda:
		return c.take(int(c.bigEndian(2)))
	}
	c.odd = true
	return nil
}

// sameString returns s if the next string is like it.
func (c *cursor) sameString(s string) string {
	if b := c.string(); string(b) != s {
		return string(b)
	}
	return s
}

func (c *cursor) uint() uint64 {
	switch b := c.byte(); {
	case b < 0x80:
		return uint64(b)
	case b >= 0xcc && b <= 0xcf:
		return c.bigEndian(1 << (b - 0xcc))
	}
	c.odd = true
	return 0
}

func (c *cursor) bool() bool {
	b := c.byte()
	c.odd = c.odd || b != 0xc2 && b != 0xc3
	return b == 0xc3
}

package wire

import (
	"math"

	"praetor/structs"
	"praetor/structs/pack"
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
		dst = pack.AppendBool(pack.AppendString(pack.AppendMap(dst, 3), "Forwarded"), true)
	} else {
		dst = pack.AppendMap(dst, 2)
	}
	dst = pack.AppendUint(pack.AppendString(dst, "Seq"), h.Seq)
	return pack.AppendString(pack.AppendString(dst, "ServiceMethod"), h.ServiceMethod)
}

func (h *Response) appendTo(dst []byte) []byte {
	if h.Code != 0 {
		dst = pack.AppendUint(pack.AppendString(pack.AppendMap(dst, 4), "Code"), uint64(h.Code))
	} else {
		dst = pack.AppendMap(dst, 3)
	}
	dst = pack.AppendString(pack.AppendString(dst, "Error"), h.Error)
	dst = pack.AppendUint(pack.AppendString(dst, "Seq"), h.Seq)
	return pack.AppendString(pack.AppendString(dst, "ServiceMethod"), h.ServiceMethod)
}

// parse replaces h. A method of the same name as before costs no new string.
func (h *Request) parse(b []byte) error {
	method := h.ServiceMethod
	*h = Request{}
	r := pack.Reader{Rest: b}
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "Seq":
			h.Seq = r.Uint()
		case "ServiceMethod":
			h.ServiceMethod = sameString(r.Bytes(), method)
		case "Forwarded":
			h.Forwarded = r.Bool()
		default:
			r.Failed = true
		}
	}
	if r.Failed || len(r.Rest) > 0 {
		*h = Request{}
		return structs.DecodeValue(b, h)
	}
	return nil
}

func (h *Response) parse(b []byte) error {
	method := h.ServiceMethod
	*h = Response{}
	r := pack.Reader{Rest: b}
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "Error":
			h.Error = r.String()
		case "Code":
			code := r.Uint()
			r.Failed = r.Failed || code > math.MaxUint16
			h.Code = structs.Code(code)
		case "Seq":
			h.Seq = r.Uint()
		case "ServiceMethod":
			h.ServiceMethod = sameString(r.Bytes(), method)
		default:
			r.Failed = true
		}
	}
	if r.Failed || len(r.Rest) > 0 {
		*h = Response{}
		return structs.DecodeValue(b, h)
	}
	return nil
}

// sameString returns the text in b, which is s itself if they are alike.
func sameString(b []byte, s string) string {
	if string(b) == s {
		return s
	}
	return string(b)
}

package wire

import (
	"bufio"
	"bytes"
	"math"
	"strings"
	"testing"

	"praetor/structs"
)

// Headers written by hand are those that the codec writes.
func TestHeaderBytes(t *testing.T) {
	t.Parallel()
	var headers []Header
	for _, seq := range []uint64{0, 1, 127, 128, 255, 256, math.MaxUint16, math.MaxUint16 + 1, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		for _, n := range []int{0, 1, 31, 32, 255, 256, math.MaxUint16, math.MaxUint16 + 1} {
			text := strings.Repeat("é", n/2) + strings.Repeat("a", n%2)
			headers = append(headers,
				&Request{Seq: seq, ServiceMethod: text},
				&Request{Seq: seq, ServiceMethod: text, Forwarded: true},
				&Response{Seq: seq, ServiceMethod: "KV.Get", Error: text},
				&Response{Seq: seq, ServiceMethod: text, Error: text, Code: structs.Code(seq)})
		}
	}
	for _, h := range headers {
		want, err := structs.AppendValue([]byte("before"), h)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.appendTo([]byte("before")); !bytes.Equal(got, want) {
			t.Fatalf("%+v: got %.50x, want %.50x", h, got, want)
		}
	}
}

// FuzzHeader: headers read by hand mean what the codec makes of them.
func FuzzHeader(f *testing.F) {
	for _, h := range []Header{
		&Request{Seq: 1, ServiceMethod: "KV.Get"},
		&Request{Seq: 300, ServiceMethod: strings.Repeat("long", 20), Forwarded: true},
		&Response{Seq: 1 << 20, ServiceMethod: "KV.Get"},
		&Response{Seq: 1 << 40, ServiceMethod: "KV.Get", Error: "No cluster leader", Code: structs.NoLeader},
	} {
		f.Add(h.appendTo(nil))
	}
	f.Add([]byte("\x82\xa3Seq\xff\xadServiceMethod\xc0"))        // a negative seq, no method
	f.Add([]byte("\x83\xa3Seq\x01\xa3Seq\x02\xa5Other\x91\x01")) // twice, and an unknown key
	f.Add([]byte("\xde\x00\x01\xd9\x03Seq\xca\x00\x00\x00\x00")) // unusual forms
	f.Add([]byte("\x92\x01\xa6KV.Get"))
	f.Fuzz(func(t *testing.T, b []byte) {
		value, err := structs.ReadValue(bufio.NewReader(bytes.NewReader(b)), nil, maxHeader)
		if err != nil || len(value) != len(b) {
			return
		}
		request, wantRequest := Request{Seq: 9, ServiceMethod: "KV.Get", Forwarded: true}, Request{}
		gotErr, wantErr := request.parse(b), structs.DecodeValue(b, &wantRequest)
		if (gotErr == nil) != (wantErr == nil) || wantErr == nil && request != wantRequest {
			t.Errorf("request: got %+v, %v, want %+v, %v", request, gotErr, wantRequest, wantErr)
		}
		response, wantResponse := Response{Seq: 9, ServiceMethod: "KV.Get", Error: "old", Code: 1}, Response{}
		gotErr, wantErr = response.parse(b), structs.DecodeValue(b, &wantResponse)
		if (gotErr == nil) != (wantErr == nil) || wantErr == nil && response != wantResponse {
			t.Errorf("response: got %+v, %v, want %+v, %v", response, gotErr, wantResponse, wantErr)
		}
	})
}

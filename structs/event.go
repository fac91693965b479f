package structs

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// EventVersion is the only version of user events there is.
const EventVersion = 1

// UserEvent is something that a user made known to all agents, or to those
// whose node, services and tags match its filters. The names in its msgpack are
// short: an event has to fit into a message of the gossip.
type UserEvent struct {
	ID            string // UUID
	Name          string `codec:"n"`
	Payload       []byte `codec:"p,omitempty"` // nil when empty
	NodeFilter    string `codec:"nf,omitempty"`
	ServiceFilter string `codec:"sf,omitempty"`
	TagFilter     string `codec:"tf,omitempty"`
	Version       int    `codec:"v"`
	LTime         uint64 `codec:"-"` // Lamport time at which gossip brought it; 0 where it was fired
}

// Index is what stands for the event where a read wants an index: the two
// halves of its ID, one XOR the other. It says nothing about before and after.
func (e *UserEvent) Index() uint64 {
	id, err := hex.DecodeString(strings.ReplaceAll(e.ID, "-", ""))
	if err != nil || len(id) != 16 {
		return 0
	}
	return binary.BigEndian.Uint64(id) ^ binary.BigEndian.Uint64(id[8:])
}

// eventHandle is the msgpack dialect of user events. Unlike everywhere else,
// bytes and strings have their new forms.
var eventHandle = newEventHandle()

func newEventHandle() *codec.MsgpackHandle {
	h := newHandle()
	h.WriteExt = true
	return h
}

// EncodeUserEvent returns the event as gossip carries it.
func EncodeUserEvent(e *UserEvent) ([]byte, error) {
	var b []byte
	err := codec.NewEncoderBytes(&b, eventHandle).Encode(e)
	return b, err
}

// DecodeUserEvent reads what EncodeUserEvent wrote.
func DecodeUserEvent(b []byte) (*UserEvent, error) {
	e := new(UserEvent)
	if err := codec.NewDecoderBytes(b, eventHandle).Decode(e); err != nil {
		return nil, Errorf(Invalid, "decode user event: %v", err)
	}
	if len(e.Payload) == 0 {
		e.Payload = nil
	}
	return e, nil
}

// EventFireRequest makes an event known. Payload is an encoded UserEvent.
type EventFireRequest struct {
	Datacenter string
	Name       string
	Payload    []byte
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *EventFireRequest) RequestDatacenter() string { return r.Datacenter }

// EventFireResponse is the reply to Internal.EventFire.
type EventFireResponse struct {
	QueryMeta
}

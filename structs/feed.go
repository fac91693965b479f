package structs

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// FeedPosition is a place in the sequence of all changes of keys: behind the
// change with number N at a raft index. The zero position is no place at all.
type FeedPosition struct {
	Index uint64
	N     uint32
}

// wholeIndex is the N of a position behind everything at its index.
const wholeIndex = math.MaxUint32

// After is the position behind all changes up to and at a raft index.
func After(index uint64) FeedPosition {
	if index == 0 {
		return FeedPosition{}
	}
	return FeedPosition{index, wholeIndex}
}

// Less reports whether p is before q.
func (p FeedPosition) Less(q FeedPosition) bool {
	return p.Index < q.Index || p.Index == q.Index && p.N < q.N
}

// String is the position as clients know it: "57-3", or "57" behind all of 57.
func (p FeedPosition) String() string { return string(p.Append(nil)) }

// Append appends the position as clients know it.
func (p FeedPosition) Append(b []byte) []byte {
	b = strconv.AppendUint(b, p.Index, 10)
	if p.N != wholeIndex && p != (FeedPosition{}) {
		b = strconv.AppendUint(append(b, '-'), uint64(p.N), 10)
	}
	return b
}

// ParseFeedPosition reads what String wrote.
func ParseFeedPosition(text string) (FeedPosition, error) {
	first, second, exact := strings.Cut(text, "-")
	index, err := strconv.ParseUint(first, 10, 64)
	n := uint64(wholeIndex)
	if err == nil && exact {
		n, err = strconv.ParseUint(second, 10, 32)
	}
	if err != nil {
		return FeedPosition{}, Errorf(Invalid, "%q is not the ID of an event", text)
	}
	if index == 0 {
		return FeedPosition{}, nil
	}
	return FeedPosition{index, uint32(n)}, nil
}

// FeedEventType says what an event is about.
type FeedEventType string

// The types of events. Clients look past those they do not know.
const (
	FeedPut      FeedEventType = "put"      // the key is now as Entry says
	FeedDelete   FeedEventType = "delete"   // the key is gone; Entry is what was, without its value
	FeedExpire   FeedEventType = "expire"   // gone because its TTL ran out
	FeedReset    FeedEventType = "reset"    // forget everything: the state at Index follows, as puts
	FeedSynced   FeedEventType = "synced"   // everything up to At was told
	FeedProgress FeedEventType = "progress" // nothing has changed up to At
)

// FeedEvent is one thing that a feed says.
type FeedEvent struct {
	Type   FeedEventType
	At     FeedPosition // place to go on from; zero in a reset and in the state that follows it
	Index  uint64       // raft index of a change, or of the state; 0 in the state that follows a reset
	Entry  *DirEntry    // shared: clone before changing
	Reason string       // for a reset, for people
	Epoch  string       // in a reset: the cluster's epoch, another after a restore

	KnownLeader bool          // in a progress: whether this server knows a leader
	LastContact time.Duration // in a progress: since it last heard from one
}

// FeedRequest asks for the changes of all keys that begin with Prefix.
type FeedRequest struct {
	Datacenter string
	Prefix     string
	After      FeedPosition // where to go on; zero: start with the state
	Consistent bool         // start from all that was acknowledged before the request
}

// Frontier is how far a leader is.
type Frontier struct {
	Applied uint64 // raft index of the last command in its state
	Last    uint64 // raft index of the last entry in its log
}

// Package wire is the framing of msgpack RPC: two msgpack values a message, a
// header and a body, with nothing between them (consul-wire.md section 2).
//
// A Conn carries many calls at once. What it reads is bounded in size, depth
// and time before it is decoded; what several goroutines write at the same
// moment leaves in one system call.
package wire

import (
	"errors"
	"time"
)

// First bytes of a connection to the RPC port.
const (
	ByteRPC      byte = 0 // messages of this package
	ByteRaft     byte = 1 // the receiver's id, then raft's own transport
	ByteTLS      byte = 3 // a TLS handshake, and inside it another first byte
	ByteYamux    byte = 4 // a yamux session whose streams carry messages of this package
	ByteSnapshot byte = 5 // one snapshot save or restore
)

// Methods of the connection itself, and the one that shows whether a peer lives.
const (
	MethodCancel = "Praetor.Cancel" // ends the call whose Seq is its body, a uint64. It has no reply
	MethodPing   = "Status.Ping"
)

const (
	maxHeader = 4 << 10  // bytes
	maxQueued = 4 << 20  // bytes that may wait to be written before writers wait
	piece     = 64 << 10 // bytes that may take the time of a stall, either way
)

// Limits bound what one connection may cost.
type Limits struct {
	MaxBody int           // bytes of one body
	Stall   time.Duration // longest time for 64 KiB of a message, or for all of a shorter one
}

// Errors of Conn.Write. Any other means that nobody knows how much was sent.
var (
	ErrClosed = errors.New("connection is closed") // nothing was sent
	ErrEncode = errors.New("cannot be encoded")    // nothing was sent; the connection goes on
)

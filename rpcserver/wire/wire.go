// Package wire is the framing of msgpack RPC: two msgpack values a message, a
// header and a body, with nothing between them (consul-wire.md section 2).
//
// A Conn carries many calls at once. What it reads is bounded in size, depth
// and time before it is decoded; what several goroutines write at the same
// moment leaves in one system call.
package wire

import (
	"bufio"
	"net"
	"os"
	"sync"
	"time"

	"praetor/structs"
)

// First bytes of a connection to the RPC port.
const (
	ByteRPC      byte = 0 // messages of this package
	ByteRaft     byte = 1 // raft's own transport
	ByteTLS      byte = 3 // a TLS handshake, and inside it another first byte
	ByteYamux    byte = 4 // a yamux session whose streams carry messages of this package
	ByteSnapshot byte = 5 // one snapshot save or restore
)

// MethodCancel ends the call whose Seq is its body, a uint64. It has no reply.
const MethodCancel = "Praetor.Cancel"

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

const (
	maxHeader = 4 << 10 // bytes
	maxQueued = 4 << 20 // bytes that may wait to be written before writers wait
)

// Limits bound what one connection may cost.
type Limits struct {
	MaxBody int           // bytes of one body
	Stall   time.Duration // longest pause inside a message, either way
}

// Conn reads and writes messages. One goroutine reads; any may write.
type Conn struct {
	conn   net.Conn
	limits Limits

	in        *bufio.Reader
	inMessage bool
	header    []byte
	body      []byte

	mu      sync.Mutex // guards the fields below
	drained sync.Cond
	out     []byte // waits to be written
	spare   []byte
	writing bool
	err     error
}

// NewConn returns a Conn on top of a connection whose first byte is behind it.
func NewConn(conn net.Conn, limits Limits) *Conn {
	c := &Conn{conn: conn, limits: limits}
	c.in = bufio.NewReaderSize(stallReader{c}, 16<<10)
	c.drained.L = &c.mu
	return c
}

// stallReader gives up on a peer that stops in the middle of a message.
type stallReader struct{ c *Conn }

// Read reads from the connection.
func (s stallReader) Read(p []byte) (int, error) {
	var deadline time.Time
	if s.c.inMessage {
		deadline = time.Now().Add(s.c.limits.Stall)
	}
	if err := s.c.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	return s.c.conn.Read(p)
}

// ReadHeader waits for the next message, without limit of time, and decodes its
// header. ReadBody must follow.
func (c *Conn) ReadHeader(header any) (err error) {
	c.inMessage = false
	if _, err = c.in.Peek(1); err != nil {
		return err
	}
	c.inMessage = true
	if c.header, err = structs.ReadValue(c.in, c.header[:0], maxHeader); err != nil {
		return err
	}
	return structs.DecodeValue(c.header, header)
}

// ReadBody returns the body of the message whose header was read. The bytes are
// good until the next call. After an error with code TooLarge no further
// message can be read.
func (c *Conn) ReadBody() (body []byte, err error) {
	if cap(c.body) > 64<<10 { // do not keep what one large message needed
		c.body = nil
	}
	c.body, err = structs.ReadValue(c.in, c.body[:0], c.limits.MaxBody)
	return c.body, err
}

// Write sends one message, or several: headers and bodies in turn. It returns
// when they are written or stand in line behind others that are; a connection
// that takes nothing for the time of a stall is closed.
func (c *Conn) Write(values ...any) error {
	var message []byte
	for _, v := range values {
		var err error
		if message, err = structs.AppendValue(message, v); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > maxQueued && c.err == nil {
		c.drained.Wait()
	}
	if c.err != nil {
		return c.err
	}
	c.out = append(c.out, message...)
	if c.writing {
		return nil // whoever is writing takes it along
	}
	c.writing = true
	for len(c.out) > 0 && c.err == nil {
		c.flush()
	}
	c.writing = false
	return c.err
}

// flush writes what is in line, letting others stand in line meanwhile.
func (c *Conn) flush() {
	batch := c.out
	c.out = c.spare[:0]
	c.mu.Unlock()
	err := c.conn.SetWriteDeadline(time.Now().Add(c.limits.Stall))
	if err == nil {
		_, err = c.conn.Write(batch)
	}
	c.mu.Lock()
	if c.spare = batch[:0]; cap(batch) > 256<<10 {
		c.spare = nil
	}
	if err != nil {
		c.err = err
		c.conn.Close()
	}
	c.drained.Broadcast()
}

// Refuse ends the conversation from our side, then takes in for a moment what
// the peer is still sending, so that it can read why before the connection dies.
func (c *Conn) Refuse(grace time.Duration) {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.conn.SetReadDeadline(time.Now().Add(grace))
		var sink [32 << 10]byte
		for left := 64 << 20; left > 0; {
			n, err := c.conn.Read(sink[:])
			if left -= n; err != nil {
				break
			}
		}
	}
	c.conn.Close()
}

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// IsTimeout reports whether an error of a Conn says that the peer stalled.
func IsTimeout(err error) bool { return os.IsTimeout(err) }

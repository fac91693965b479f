package wire

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"praetor/structs"
)

// Conn reads and writes messages. One goroutine reads; any may write.
type Conn struct {
	conn   net.Conn
	limits Limits

	in        *bufio.Reader
	inMessage bool
	armed     bool // a read deadline is set
	arrived   int  // bytes since it was
	header    []byte
	body      []byte
	born      time.Time
	waiting   atomic.Int64 // time after born since which a read waits for bytes, 0 while none does

	mu      sync.Mutex // guards the fields below
	drained sync.Cond
	out     []byte // waits to be written
	spare   []byte
	writing bool
	err     error
}

// NewConn returns a Conn on top of a connection whose first byte is behind it.
func NewConn(conn net.Conn, limits Limits) *Conn {
	c := &Conn{conn: conn, limits: limits, born: time.Now()}
	c.in = bufio.NewReaderSize(stallReader{c}, 16<<10)
	c.drained.L = &c.mu
	return c
}

// stallReader gives up on a peer that stops, or almost stops, in the middle of
// a message.
type stallReader struct{ c *Conn }

// Read reads from the connection.
func (s stallReader) Read(p []byte) (int, error) {
	c := s.c
	now := time.Now()
	var err error
	switch {
	case c.inMessage && (!c.armed || c.arrived >= piece):
		c.armed, c.arrived = true, 0
		err = c.conn.SetReadDeadline(now.Add(c.limits.Stall))
	case !c.inMessage && c.armed:
		c.armed = false
		err = c.conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return 0, err
	}
	c.waiting.Store(max(1, int64(now.Sub(c.born))))
	n, err := c.conn.Read(p)
	c.waiting.Store(0)
	c.arrived += n
	return n, err
}

// Silence is for how long the reader has been waiting for the peer to send
// something. It is 0 while it does not wait. Any goroutine may ask.
func (c *Conn) Silence() time.Duration {
	since := c.waiting.Load()
	if since == 0 {
		return 0
	}
	return time.Since(c.born) - time.Duration(since)
}

// ReadHeader waits for the next message, without limit of time, and decodes its
// header. ReadBody must follow.
func (c *Conn) ReadHeader(header Header) (err error) {
	c.inMessage = false
	if _, err = c.in.Peek(1); err != nil {
		return err
	}
	c.inMessage, c.arrived = true, piece
	if c.header, err = structs.ReadValue(c.in, c.header[:0], maxHeader); err != nil {
		return err
	}
	return header.parse(c.header)
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

// SetMaxBody changes how large a body may be from the next one on. Only the
// goroutine that reads may call it.
func (c *Conn) SetMaxBody(bytes int) { c.limits.MaxBody = bytes }

// Write sends one message. It returns when it is written or stands in line
// behind others that are; a connection that takes nothing for the time of a
// stall is closed. Encoding waits for room in the line, so that a peer that
// does not read costs the line and no more.
func (c *Conn) Write(header Header, body any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > maxQueued && c.err == nil {
		c.drained.Wait()
	}
	if c.err != nil {
		return fmt.Errorf("%w: %v", ErrClosed, c.err)
	}
	start := len(c.out)
	out, err := structs.AppendValue(header.appendTo(c.out), body)
	if err != nil {
		c.out = out[:start]
		return fmt.Errorf("%w: %v", ErrEncode, err)
	}
	c.out = out
	if c.writing {
		return nil // whoever is writing takes it along
	}
	c.writing = true
	c.mu.Unlock()
	runtime.Gosched() // so that others who are about to write share the system call
	c.mu.Lock()
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
	err := c.writePieces(batch)
	c.mu.Lock()
	if c.spare = batch[:0]; cap(batch) > 256<<10 {
		c.spare = nil
	}
	if err != nil {
		c.end(err)
	}
	c.drained.Broadcast()
}

func (c *Conn) writePieces(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), piece)
		if err := c.conn.SetWriteDeadline(time.Now().Add(c.limits.Stall)); err != nil {
			return err
		}
		if _, err := c.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// end closes the connection for a reason. The caller holds c.mu.
func (c *Conn) end(err error) {
	if c.err == nil {
		c.err = err
		c.out, c.spare = nil, nil
	}
	c.drained.Broadcast()
	c.conn.Close()
}

// Refuse ends the conversation from our side, then takes in for a moment what
// the peer is still sending, so that it can read why before the connection dies.
func (c *Conn) Refuse(grace time.Duration) {
	defer c.Close()
	closeWrite := c.conn.Close // which is just that on a yamux stream
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		closeWrite = half.CloseWrite
	}
	if closeWrite() != nil {
		return
	}
	c.conn.SetReadDeadline(time.Now().Add(grace))
	var sink [32 << 10]byte
	for left := 64 << 20; left > 0; {
		n, err := c.conn.Read(sink[:])
		if left -= n; err != nil {
			return
		}
	}
}

// Close closes the connection. What stands in line is not sent any more.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(net.ErrClosed)
	return nil
}

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

package agent

import (
	"bufio"
	"bytes"
	"net"
	"sync"
)

// handover is a listener whose connections come from a keyServer, with what it
// has read of them and not taken.
type handover struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give lets the connection be accepted, or closes it if nobody accepts any more.
func (h *handover) give(conn net.Conn, in *bufio.Reader) {
	seen, _ := in.Peek(in.Buffered())
	select {
	case h.conns <- &givenConn{conn, bytes.Clone(seen)}:
	case <-h.closed:
		conn.Close()
	}
}

// Accept waits for a connection. The error is net.ErrClosed.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr returns an address that says nothing: there are many listeners behind it.
func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }

// givenConn is a connection of which something was read already.
type givenConn struct {
	net.Conn
	seen []byte
}

// Read reads what was read already, and then from the connection.
func (c *givenConn) Read(p []byte) (int, error) {
	if len(c.seen) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.seen)
	if c.seen = c.seen[n:]; len(c.seen) == 0 {
		c.seen = nil
	}
	return n, nil
}

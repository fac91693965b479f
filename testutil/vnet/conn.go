package vnet

import (
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// conn is one end of a stream. Its fields are guarded by the network's lock.
type conn struct {
	net           *Network
	host          *Host
	peer          *conn
	local, remote *net.TCPAddr
	in            inbox
	wake          signal // something changed that a Read or Write may wait for

	closed                      bool
	finished                    bool // CloseWrite was called
	warned                      bool // a write went out after the peer's close had arrived
	readDeadline, writeDeadline time.Time
}

// join makes the two ends of a stream.
func (n *Network) join(client, server *Host, from, to *net.TCPAddr) (dialed, accepted *conn) {
	dialed = &conn{net: n, host: client, local: from, remote: to,
		in: inbox{link: n.link(server.ip, client.ip)}}
	accepted = &conn{net: n, host: server, local: to, remote: from, peer: dialed,
		in: inbox{link: n.link(client.ip, server.ip)}}
	dialed.peer = accepted
	n.conns[dialed], n.conns[accepted] = true, true
	return dialed, accepted
}

// Read returns what has arrived, io.EOF after the peer's close, or
// syscall.ECONNRESET after its crash.
func (c *conn) Read(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		now := time.Now()
		c.in.settle(now)
		switch {
		case c.closed:
			return 0, c.error("read", net.ErrClosed)
		case passed(c.readDeadline, now):
			return 0, c.error("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case c.in.arrived.Len() > 0:
			c.peer.wake.raise()
			return c.in.read(b), nil
		case c.in.end == reset:
			return 0, c.error("read", os.NewSyscallError("read", syscall.ECONNRESET))
		case c.in.end != open:
			return 0, io.EOF
		}
		c.net.sleep(&c.wake, nil, earliest(c.readDeadline, c.in.next()))
	}
}

// Write returns when all of b is in the buffer. As with TCP, the first write
// to a peer that has closed seems to succeed and the second one fails.
func (c *conn) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	out := &c.peer.in
	sent := 0
	for {
		now := time.Now()
		c.in.settle(now)
		out.settle(now)
		switch {
		case c.closed:
			return sent, c.error("write", net.ErrClosed)
		case passed(c.writeDeadline, now):
			return sent, c.error("write", os.ErrDeadlineExceeded)
		case c.in.end == reset:
			return sent, c.error("write", os.NewSyscallError("write", syscall.ECONNRESET))
		case c.finished || c.warned:
			return sent, c.error("write", os.NewSyscallError("write", syscall.EPIPE))
		case len(b) == 0:
			return 0, nil
		}
		if room := min(capacity-out.size, len(b)-sent); room > 0 {
			c.send(segment{data: slices.Clone(b[sent : sent+room])}, now)
			c.warned = c.in.end == fullClose
			if sent += room; sent == len(b) {
				return sent, nil
			}
			continue
		}
		arrival := c.in.next()
		if out.deaf {
			arrival = earliest(arrival, out.next()) // makes room by being dropped
		}
		c.net.sleep(&c.wake, nil, earliest(c.writeDeadline, arrival))
	}
}

// CloseWrite tells the peer that no more will come. Reading goes on.
func (c *conn) CloseWrite() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.error("close", net.ErrClosed)
	}
	if !c.finished {
		c.finished = true
		c.send(segment{end: halfClose}, time.Now())
		c.wake.raise()
	}
	return nil
}

// Close wakes everyone on this end with net.ErrClosed. The peer reads what is
// still on its way, then the end of file.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.error("close", net.ErrClosed)
	}
	c.shut(fullClose)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadline(t, &c.readDeadline) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, &c.writeDeadline) }
func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadline(t, &c.readDeadline, &c.writeDeadline)
}

func (c *conn) setDeadline(t time.Time, which ...*time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.error("set", net.ErrClosed)
	}
	for _, d := range which {
		*d = t
	}
	c.wake.raise()
	return nil
}

// shut closes this end and sends the news to the other one.
func (c *conn) shut(end ending) {
	now := time.Now()
	c.closed = true
	delete(c.net.conns, c)
	c.send(segment{end: end}, now)
	c.in.deaf = true
	c.in.settle(now)
	c.wake.raise()
	c.peer.wake.raise()
}

func (c *conn) send(s segment, now time.Time) {
	in := &c.peer.in
	in.push(s, now, c.net.delay(in.link))
	c.peer.wake.raise()
}

func (c *conn) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

package vnet

import (
	"net"
	"time"
)

// backlog is how many conns may wait to be accepted; more dials wait.
const backlog = 128

// listener is a listening address. Its fields are guarded by the network's lock.
type listener struct {
	host   *Host
	addr   *net.TCPAddr
	queue  []*conn
	wake   signal
	closed bool
}

// Accept returns the next conn, oldest first.
func (l *listener) Accept() (net.Conn, error) {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if l.closed {
			return nil, l.error("accept", net.ErrClosed)
		}
		if len(l.queue) > 0 {
			c := l.queue[0]
			l.queue = l.queue[1:]
			n.changed.raise() // there is room for a dial that waits
			return c, nil
		}
		n.sleep(&l.wake, nil, time.Time{})
	}
}

// Close frees the address. Conns nobody has accepted are reset.
func (l *listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return l.error("close", net.ErrClosed)
	}
	l.shut()
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) shut() {
	l.closed = true
	delete(l.host.net.listeners, l.addr.String())
	for _, c := range l.queue {
		if !c.closed {
			c.shut(reset)
		}
	}
	l.queue = nil
	l.wake.raise()
	l.host.net.changed.raise()
}

func (l *listener) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.addr, Err: err}
}

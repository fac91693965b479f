package client

import (
	"context"
	"net"
	"sync"
	"time"

	"praetor/rpcserver/wire"
)

// Dialer opens a connection to the RPC port of a server, up to but without the
// first byte.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// crowded is how many calls may wait on a connection before another is opened.
const crowded = 4096

// Pool keeps connections to servers, by address.
type Pool struct {
	dial    Dialer
	timeout time.Duration
	limits  wire.Limits

	ctx    context.Context // of dials; ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // dials

	mu     sync.Mutex // guards the fields below
	conns  map[string][]*Conn
	dials  map[string]*dialing
	closed bool
}

type dialing struct {
	done chan struct{}
	conn *Conn
	err  error
}

// NewPool returns a pool that dials with dial, giving it timeout to connect.
func NewPool(dial Dialer, timeout time.Duration, limits wire.Limits) *Pool {
	p := &Pool{dial: dial, timeout: timeout, limits: limits, conns: map[string][]*Conn{}, dials: map[string]*dialing{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Get returns a connection to the server at addr, dialing one if there is none
// that has room. Callers that want the same one share the dial. Its errors have
// code Unreachable, or are ctx's.
func (p *Pool) Get(ctx context.Context, addr string) (*Conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, unreachable(addr, net.ErrClosed)
	}
	if c := p.idlest(addr); c != nil {
		p.mu.Unlock()
		return c, nil
	}
	d := p.dials[addr]
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		p.dials[addr] = d
		p.tasks.Go(func() { p.open(addr, d) })
	}
	p.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// idlest returns the least busy live connection, nil if all are crowded, and
// forgets dead ones. The caller holds p.mu.
func (p *Pool) idlest(addr string) *Conn {
	var best *Conn
	alive := p.conns[addr][:0]
	for _, c := range p.conns[addr] {
		if c.Err() != nil {
			continue
		}
		alive = append(alive, c)
		if c.Busy() < crowded && (best == nil || c.Busy() < best.Busy()) {
			best = c
		}
	}
	if p.conns[addr] = alive; len(alive) == 0 {
		delete(p.conns, addr)
	}
	return best
}

// open dials for everyone who waits on d.
func (p *Pool) open(addr string, d *dialing) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout)
	defer cancel()
	conn, err := p.dial(ctx, addr)
	if err != nil {
		d.err = unreachable(addr, err)
	} else {
		d.conn, d.err = NewConn(conn, p.limits)
	}
	p.mu.Lock()
	delete(p.dials, addr)
	unwanted := p.closed && d.err == nil
	if d.err == nil && !unwanted {
		p.conns[addr] = append(p.conns[addr], d.conn)
	}
	p.mu.Unlock()
	if unwanted {
		d.conn.Close()
	}
	close(d.done)
}

// Forget closes the connections to a server that has gone.
func (p *Pool) Forget(addr string) {
	p.mu.Lock()
	conns := p.conns[addr]
	delete(p.conns, addr)
	p.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// Close closes every connection and waits until nothing of the pool runs.
func (p *Pool) Close() {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	all := p.conns
	p.conns = map[string][]*Conn{}
	p.mu.Unlock()
	for _, conns := range all {
		for _, c := range conns {
			c.Close()
		}
	}
	p.tasks.Wait()
}

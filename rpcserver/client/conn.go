package client

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"praetor/rpcserver/wire"
	"praetor/structs"
)

// Conn is one connection to one server. It carries any number of calls at once.
type Conn struct {
	wire *wire.Conn
	peer string
	busy atomic.Int64

	mu    sync.Mutex // guards the fields below
	seq   uint64
	calls map[uint64]*call
	err   error
}

// call is one request that waits for its reply.
type call struct {
	reply any
	done  chan error // gets one value
}

// NewConn starts a conversation on a fresh connection to a server's RPC port:
// it sends the first byte and reads replies until Close.
func NewConn(conn net.Conn, limits wire.Limits) (*Conn, error) {
	if _, err := conn.Write([]byte{wire.ByteRPC}); err != nil {
		conn.Close()
		return nil, unreachable(conn.RemoteAddr().String(), err)
	}
	c := &Conn{wire: wire.NewConn(conn, limits), peer: conn.RemoteAddr().String(), calls: map[uint64]*call{}}
	go c.read()
	return c, nil
}

func unreachable(addr string, err error) error {
	return structs.Errorf(structs.Unreachable, "cannot reach server %s: %v", addr, err)
}

// Call runs a method on the server and decodes its answer into reply. When ctx
// ends first, the server is told to stop working on it. An error from the
// server has the code it was sent with; code Unreachable means that the request
// was not sent, Unclear that nobody knows what became of it.
func (c *Conn) Call(ctx context.Context, method string, args, reply any) error {
	return c.call(ctx, wire.Request{ServiceMethod: method}, args, reply)
}

// CallLeader is Call for a server that takes the peer for the leader: if it is
// not, it says so and does not send the request on.
func (c *Conn) CallLeader(ctx context.Context, method string, args, reply any) error {
	return c.call(ctx, wire.Request{ServiceMethod: method, Forwarded: true}, args, reply)
}

func (c *Conn) call(ctx context.Context, header wire.Request, args, reply any) error {
	c.busy.Add(1)
	defer c.busy.Add(-1)
	waiting := &call{reply: reply, done: make(chan error, 1)}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return unreachable(c.peer, c.err)
	}
	c.seq++
	header.Seq = c.seq
	c.calls[header.Seq] = waiting
	c.mu.Unlock()

	if err := c.wire.Write(&header, args); err != nil {
		c.fail(err)
	}
	select {
	case err := <-waiting.done:
		return err
	case <-ctx.Done():
	}
	c.mu.Lock()
	_, unanswered := c.calls[header.Seq]
	delete(c.calls, header.Seq)
	c.mu.Unlock()
	if !unanswered {
		return <-waiting.done // the reply is being decoded, or was
	}
	_ = c.wire.Write(&wire.Request{ServiceMethod: wire.MethodCancel}, header.Seq)
	return ctx.Err()
}

// read hands replies to those who wait for them.
func (c *Conn) read() {
	for {
		var header wire.Response
		if err := c.wire.ReadHeader(&header); err != nil {
			c.fail(err)
			return
		}
		body, err := c.wire.ReadBody()
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		waiting := c.calls[header.Seq]
		delete(c.calls, header.Seq)
		c.mu.Unlock()
		switch {
		case waiting == nil: // its caller has gone
		case header.Error != "":
			waiting.done <- &structs.Error{Code: header.Code, Text: header.Error}
		case waiting.reply == nil:
			waiting.done <- nil
		default:
			waiting.done <- structs.DecodeValue(body, waiting.reply)
		}
	}
}

// fail ends the conversation: every call that waits gets an error.
func (c *Conn) fail(err error) {
	c.wire.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	for seq, waiting := range c.calls {
		delete(c.calls, seq)
		waiting.done <- structs.Errorf(structs.Unclear,
			"connection to server %s was lost before it answered (%v): the request may or may not have been carried out", c.peer, err)
	}
}

// Err returns why the conversation ended, nil while it goes on.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Busy is how many calls wait for an answer.
func (c *Conn) Busy() int { return int(c.busy.Load()) }

// Close ends the conversation. Calls that wait get an error with code Unclear.
func (c *Conn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}

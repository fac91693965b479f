package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"praetor/rpcserver/wire"
	"praetor/structs"
)

// heartbeat is how long a server may be silent before it is asked whether it
// lives, and how long it then has to say so. TCP itself takes minutes to notice
// that a peer has gone without a word.
const heartbeat = 5 * time.Second

// Conn is one connection to one server. It carries any number of calls at once.
type Conn struct {
	wire  *wire.Conn
	peer  string
	busy  atomic.Int64
	ended chan struct{} // closes when there is nothing more to read
	tasks sync.WaitGroup

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
	c := &Conn{
		wire:  wire.NewConn(conn, limits),
		peer:  conn.RemoteAddr().String(),
		ended: make(chan struct{}),
		calls: map[uint64]*call{},
	}
	c.tasks.Go(c.read)
	c.tasks.Go(c.watch)
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

	switch err := c.wire.Write(&header, args); {
	case errors.Is(err, wire.ErrEncode):
		c.take(header.Seq)
		return err
	case errors.Is(err, wire.ErrClosed):
		c.take(header.Seq)
		return unreachable(c.peer, err)
	case err != nil:
		c.fail(err)
	}
	select {
	case err := <-waiting.done:
		return err
	case <-ctx.Done():
	}
	if c.take(header.Seq) == nil {
		return <-waiting.done // the reply is being decoded, or was
	}
	c.wire.Write(&wire.Request{ServiceMethod: wire.MethodCancel}, header.Seq)
	return ctx.Err()
}

// take returns the call with that seq, nil if there is none, and forgets it.
func (c *Conn) take(seq uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.calls[seq]
	delete(c.calls, seq)
	return waiting
}

// read hands replies to those who wait for them.
func (c *Conn) read() {
	defer close(c.ended)
	var header wire.Response
	for {
		if err := c.wire.ReadHeader(&header); err != nil {
			c.fail(err)
			return
		}
		body, err := c.wire.ReadBody()
		waiting := c.take(header.Seq)
		if waiting == nil {
			waiting = &call{done: make(chan error, 1)} // its caller has gone
		}
		switch {
		case structs.IsCode(err, structs.TooLarge):
			waiting.done <- structs.Errorf(structs.TooLarge,
				"reply of server %s is too large for this client (%v): raise Config.MaxReply", c.peer, err)
		case err != nil:
			waiting.done <- c.unclear(err)
		case header.Error != "":
			waiting.done <- &structs.Error{Code: header.Code, Text: header.Error}
		case waiting.reply == nil:
			waiting.done <- nil
		default:
			waiting.done <- structs.DecodeValue(body, waiting.reply)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// watch ends the conversation when the server is gone without a word.
func (c *Conn) watch() {
	var asked time.Time // zero: not since it last spoke
	for {
		select {
		case <-c.ended:
			return
		case <-time.After(heartbeat):
		}
		switch silence := c.wire.Silence(); {
		case silence < heartbeat:
			asked = time.Time{}
		case asked.IsZero(), silence <= time.Since(asked): // an answer came, and nothing after it
			asked = time.Now()
			c.wire.Write(&wire.Request{ServiceMethod: wire.MethodPing}, &wire.Empty{}) // Seq 0 is nobody's
		default:
			c.fail(fmt.Errorf("no sign of life for %s", silence.Round(time.Second)))
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
		waiting.done <- c.unclear(err)
	}
}

func (c *Conn) unclear(err error) error {
	return structs.Errorf(structs.Unclear,
		"connection to server %s was lost before it answered (%v): the request may or may not have been carried out", c.peer, err)
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
	c.tasks.Wait()
	return nil
}

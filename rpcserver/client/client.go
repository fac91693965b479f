package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/rpc"
	"sync/atomic"
	"time"

	msgpackrpc "github.com/hashicorp/net-rpc-msgpackrpc/v2"

	"praetor/rpcserver/wire"
	"praetor/structs"
)

// Config says how a Client behaves. The zero value of each field is its default.
type Config struct {
	Servers     []string      // host:port of RPC ports, tried in turn
	Datacenter  string        // sent with every request; empty means the server's own
	Timeout     time.Duration // for one call, not counting how long a read waits on purpose; 10 s
	DialTimeout time.Duration // to connect; 3 s
	MaxReply    int           // bytes of one reply; 1 GiB
	Dial        Dialer        // nil means TCP
	TLS         *tls.Config   // nil means plain
}

// Client calls methods on whichever of its servers answers.
type Client struct {
	config Config
	pool   *Pool
	next   atomic.Int64 // server that answered last
}

// New returns a client of the servers whose RPC ports are at these addresses.
// It does not connect yet. The error is about the arguments.
func New(servers ...string) (*Client, error) { return NewWithConfig(Config{Servers: servers}) }

// NewWithConfig returns a client as configured. It does not connect yet.
func NewWithConfig(config Config) (*Client, error) {
	if len(config.Servers) == 0 {
		return nil, errors.New("client: no servers given")
	}
	for _, addr := range config.Servers {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, structs.Errorf(structs.Invalid, "client: server address %q is not host:port", addr)
		}
	}
	config.Timeout = orDefault(config.Timeout, 10*time.Second)
	config.DialTimeout = orDefault(config.DialTimeout, 3*time.Second)
	config.MaxReply = orDefault(config.MaxReply, 1<<30)
	if config.Dial == nil {
		config.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	dial := config.Dial
	if config.TLS != nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := config.Dial(ctx, addr)
			if err != nil {
				return nil, err
			}
			return StartTLS(ctx, conn, addr, config.TLS)
		}
	}
	limits := wire.Limits{MaxBody: config.MaxReply, Stall: config.Timeout}
	return &Client{config: config, pool: NewPool(dial, config.DialTimeout, limits)}, nil
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// StartTLS turns a fresh connection to an RPC port into a TLS one: first byte
// 3, then the handshake. It closes conn if that fails.
func StartTLS(ctx context.Context, conn net.Conn, addr string, config *tls.Config) (net.Conn, error) {
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	secure := tls.Client(conn, config)
	_, err := conn.Write([]byte{wire.ByteTLS})
	if err == nil {
		err = secure.HandshakeContext(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return secure, nil
}

// Read calls a method that changes nothing. If a server cannot be reached, has
// no leader or does not answer within a third of the time-out, the next one is
// tried, until the time-out. wait is how long the method itself may wait on top
// of that.
func (c *Client) Read(ctx context.Context, method string, args, reply any, wait time.Duration) error {
	return c.try(ctx, method, args, reply, wait, true)
}

// Write calls a method that changes something. It is tried again only when it
// is certain that nothing was done.
func (c *Client) Write(ctx context.Context, method string, args, reply any) error {
	return c.try(ctx, method, args, reply, 0, false)
}

func (c *Client) try(ctx context.Context, method string, args, reply any, wait time.Duration, harmless bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout+wait)
	defer cancel()
	var last error
	var trouble time.Time // since when it has not gone well; a long wait before that was fine
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		for range c.config.Servers {
			begun := time.Now()
			at := c.next.Load()
			addr := c.config.Servers[int(at)%len(c.config.Servers)]
			err := c.attempt(ctx, addr, method, args, reply, wait, harmless)
			if err == nil || !notHere(err) {
				return err
			}
			if !errors.Is(ctx.Err(), context.Canceled) { // then it is not the server's fault
				c.next.CompareAndSwap(at, at+1)
			}
			if trouble.IsZero() || time.Since(begun) > c.config.Timeout {
				trouble = time.Now()
			}
			if ctx.Err() != nil || time.Since(trouble) > c.config.Timeout {
				return gaveUp(ctx, err, last)
			}
			if structs.IsCode(err, structs.Unclear) && !harmless {
				return err
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return gaveUp(ctx, last, nil)
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// attempt makes the call on one server. One that hangs must not use up all the
// time of a read: if there are others, they get theirs.
func (c *Client) attempt(ctx context.Context, addr, method string, args, reply any, wait time.Duration, harmless bool) error {
	conn, err := c.pool.Get(ctx, addr)
	if err != nil {
		return unreachable(addr, err)
	}
	if harmless && len(c.config.Servers) > 1 {
		limited, cancel := context.WithTimeout(ctx, c.config.Timeout/3+wait)
		defer cancel()
		ctx = limited
	}
	err = conn.Call(ctx, method, args, reply)
	if err == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	if harmless {
		return structs.Errorf(structs.Unreachable, "server %s did not answer (%v)", addr, err)
	}
	return structs.Errorf(structs.Unclear, "server %s did not answer (%v): the request may or may not have been carried out", addr, err)
}

// notHere reports whether the trouble is with the server that was asked, so
// that another one may do better.
func notHere(err error) bool {
	switch structs.CodeOf(err) {
	case structs.Unreachable, structs.NoLeader, structs.NotReady, structs.Leaving, structs.Resubmit, structs.Busy, structs.Unclear, structs.Quarantined:
		return true
	}
	return false
}

// stopped is the error of a call whose time ended. It is also the context's.
type stopped struct {
	coded *structs.Error
	cause error
}

func gaveUp(ctx context.Context, err, before error) error {
	code, text := structs.CodeOf(err), err.Error()
	if before != nil {
		if text = fmt.Sprintf("%v (before that: %v)", err, before); code != structs.Unclear {
			code = structs.CodeOf(before)
		}
	}
	cause := ctx.Err()
	if cause == nil {
		cause = context.DeadlineExceeded // ours
	}
	return &stopped{&structs.Error{Code: code, Text: "gave up: " + text}, cause}
}

// Error says what happened last.
func (s *stopped) Error() string { return s.coded.Text }

// Unwrap gives the code and the context's error.
func (s *stopped) Unwrap() []error { return []error{s.coded, s.cause} }

// Close closes all connections.
func (c *Client) Close() error {
	c.pool.Close()
	return nil
}

// DialPlain returns a client of the standard net/rpc package for the RPC port
// at addr, with the net-rpc-msgpackrpc codec, for those who want no more than
// that: one server, no retry, errors without codes.
func DialPlain(addr string) (*rpc.Client, error) {
	conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return nil, unreachable(addr, err)
	}
	if _, err := conn.Write([]byte{wire.ByteRPC}); err != nil {
		conn.Close()
		return nil, unreachable(addr, err)
	}
	codec := msgpackrpc.NewCodecFromHandle(true, true, conn, structs.Handle)
	return rpc.NewClientWithCodec(plainCodec{codec, conn}), nil
}

// plainCodec closes by closing the connection: the codec's own Close, in
// v2.0.0, races with its reader.
type plainCodec struct {
	*msgpackrpc.MsgpackCodec
	conn net.Conn
}

// Close closes the connection.
func (c plainCodec) Close() error { return c.conn.Close() }

package client

import (
	"context"
	"crypto/tls"
	"errors"
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
	Timeout     time.Duration // for one call, without the time a blocking read waits; 10 s
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

// Read calls a method that changes nothing. If a server cannot be reached, or
// has no leader, the next one is tried until the time-out. wait is how long the
// method itself may wait on top of that.
func (c *Client) Read(ctx context.Context, method string, args, reply any, wait time.Duration) error {
	return c.try(ctx, method, args, reply, wait, true)
}

// Write calls a method that changes something. It is tried again only when it
// is certain that nothing was done.
func (c *Client) Write(ctx context.Context, method string, args, reply any) error {
	return c.try(ctx, method, args, reply, 0, false)
}

func (c *Client) try(ctx context.Context, method string, args, reply any, wait time.Duration, harmless bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout+wait, nil)
	defer cancel()
	var last error
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		for range c.config.Servers {
			at := c.next.Load()
			addr := c.config.Servers[int(at)%len(c.config.Servers)]
			conn, err := c.pool.Get(ctx, addr)
			if err == nil {
				err = conn.Call(ctx, method, args, reply)
			}
			if err == nil || !again(err, harmless) {
				return c.explain(ctx, err, last, harmless)
			}
			last = err
			c.next.CompareAndSwap(at, at+1)
		}
		select {
		case <-ctx.Done():
			return c.explain(ctx, ctx.Err(), last, harmless)
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// again reports whether a call may be tried once more.
func again(err error, harmless bool) bool {
	e := (*structs.Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case structs.Unreachable, structs.NoLeader, structs.NotReady, structs.Leaving, structs.Resubmit, structs.Busy:
		return true
	case structs.Unclear:
		return harmless
	}
	return false
}

// explain makes the end of our own time-out an error that says what came
// before it. A write that was on its way then has an unclear outcome.
func (c *Client) explain(ctx context.Context, err, last error, harmless bool) error {
	if err == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	switch {
	case last != nil:
		return structs.Errorf(structs.CodeOf(last), "gave up: %v (before that: %v)", err, last)
	case harmless:
		return err
	}
	return structs.Errorf(structs.Unclear, "gave up waiting (%v): the request may or may not have been carried out", err)
}

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
	return rpc.NewClientWithCodec(msgpackrpc.NewCodecFromHandle(true, true, conn, structs.Handle)), nil
}

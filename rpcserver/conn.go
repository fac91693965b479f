package rpcserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
)

// listen accepts connections on the RPC port until it is closed. Whatever one
// of them does, the others do not notice.
func (s *Server) listen() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.logger.Error("cannot accept RPC connection", "error", err)
			select {
			case <-s.ctx.Done():
			case <-time.After(100 * time.Millisecond): // out of descriptors, most likely
			}
			continue
		}
		if limit := s.limits.Load().MaxConnsPerClient; !s.conns.add(conn, limit) {
			s.logger.Warn("too many RPC connections from one client: see limits.rpc_max_conns_per_client",
				"client", conn.RemoteAddr(), "limit", limit)
			conn.Close()
			continue
		}
		s.tasks.Go(func() {
			defer s.conns.remove(conn)
			s.serveConn(conn, false)
		})
	}
}

// serveConn reads the first byte and hands the connection to its protocol.
func (s *Server) serveConn(conn net.Conn, secure bool) {
	conn.SetDeadline(s.handshakeDeadline())
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		conn.Close() // a port scan, or a load balancer looking whether we are there
		return
	}
	if s.config.TLS.Required && !secure && first[0] != wire.ByteTLS {
		s.logger.Warn("plain RPC connection refused: tls.internal_rpc.verify_incoming is set", "from", conn.RemoteAddr())
		conn.Close()
		return
	}
	if first[0] != wire.ByteTLS {
		conn.SetDeadline(time.Time{})
	}
	switch first[0] {
	case wire.ByteRPC:
		s.serveRPC(conn, newBudget())
	case wire.ByteRaft:
		s.raftLayer.hand(conn)
	case wire.ByteYamux:
		s.serveYamux(conn)
	case wire.ByteSnapshot:
		s.serveSnapshot(conn)
	case wire.ByteTLS:
		s.serveTLS(conn, secure)
	default:
		s.logger.Warn("unknown protocol on the RPC port", "byte", first[0], "from", conn.RemoteAddr())
		conn.Close()
	}
}

func (s *Server) serveTLS(conn net.Conn, secure bool) {
	if s.config.TLS.Incoming == nil || secure {
		s.logger.Warn("TLS refused on the RPC port: set tls.internal_rpc.cert_file and key_file", "from", conn.RemoteAddr())
		conn.Close()
		return
	}
	inside := tls.Server(conn, s.config.TLS.Incoming)
	if err := inside.Handshake(); err != nil {
		s.logger.Warn("TLS handshake failed on the RPC port", "from", conn.RemoteAddr(), "error", err)
		conn.Close()
		return
	}
	s.serveConn(inside, true)
}

// maxStreams is how many streams one yamux session may have open. Consul's
// agents open one for each call that waits; the next one then waits as well.
const maxStreams = 4096

// serveYamux serves RPC on every stream of a yamux session.
func (s *Server) serveYamux(conn net.Conn) {
	config := yamux.DefaultConfig()
	config.LogOutput = nil
	config.Logger = s.logger.Named("yamux").StandardLogger(nil)
	session, err := yamux.Server(conn, config)
	if err != nil {
		conn.Close()
		return
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	defer session.Close()
	budget, slots := newBudget(), make(chan struct{}, maxStreams)
	for {
		slots <- struct{}{}
		stream, err := session.Accept()
		if err != nil {
			return
		}
		streams.Go(func() {
			s.serveRPC(stream, budget)
			<-slots
		})
	}
}

// dial connects to the RPC port of another server, over TLS if so configured.
func (s *Server) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := s.config.Network.Dial(ctx, addr)
	if err != nil || s.config.TLS.Outgoing == nil {
		return conn, err
	}
	return client.StartTLS(ctx, conn, addr, s.config.TLS.Outgoing)
}

// conns are the connections to the RPC port that are open.
type conns struct {
	mu     sync.Mutex // guards the fields below
	open   map[net.Conn]string
	by     map[string]int // by client IP
	closed bool
}

func (c *conns) add(conn net.Conn, limit int) bool {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		host = conn.RemoteAddr().String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || limit > 0 && c.by[host] >= limit {
		return false
	}
	if c.open == nil {
		c.open, c.by = map[net.Conn]string{}, map[string]int{}
	}
	c.open[conn] = host
	c.by[host]++
	return true
}

func (c *conns) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	host, ok := c.open[conn]
	if !ok {
		return
	}
	delete(c.open, conn)
	if c.by[host]--; c.by[host] == 0 {
		delete(c.by, host)
	}
}

func (c *conns) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		conn.Close()
	}
}

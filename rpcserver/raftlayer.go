package rpcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver/wire"
)

// raftLayer carries raft between servers. A connection names the server it is
// for, and one that is not that server refuses it: raft itself would take
// orders from any leader that reaches it, such as that of another cluster whose
// member once had our address.
//
//	+---+--------+----------------+-------------
//	| 1 | length | id of receiver | raft's own ...
//	+---+--------+----------------+-------------
type raftLayer struct {
	server *Server
	conns  chan net.Conn
	done   <-chan struct{}
	up     chan struct{} // closed when server.raft is there
	closed chan struct{} // closed by Close
}

// ServerAddr tells raft's transport where a server is now, as Dial takes it:
// host:port/id. A server that has moved is where gossip says; one that gossip
// has lost, where it was last.
func (l *raftLayer) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == l.server.config.NodeID {
		return raft.ServerAddress(l.server.addr), nil // what we sign our messages with
	}
	addr := l.server.members.lastAddr(string(id))
	if addr == "" {
		addr = l.configured(id)
	}
	if addr == "" {
		return "", errors.New("the server is neither in gossip nor in the raft configuration")
	}
	return raft.ServerAddress(addr + "/" + string(id)), nil
}

func (l *raftLayer) configured(id raft.ServerID) string {
	select {
	case <-l.up:
	default:
		return ""
	}
	future := l.server.raft.GetConfiguration()
	if future.Error() != nil {
		return ""
	}
	for _, server := range future.Configuration().Servers {
		if server.ID == id {
			return string(server.Address)
		}
	}
	return ""
}

// Dial opens a raft connection to another server.
func (l *raftLayer) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	addr, id, _ := strings.Cut(string(target), "/")
	ctx, cancel := context.WithTimeout(l.server.ctx, timeout)
	defer cancel()
	conn, err := l.server.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	hello := append([]byte{wire.ByteRaft, byte(len(id))}, id...)
	if _, err := conn.Write(hello); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// hand gives raft a connection whose first byte said that it is for raft, if it
// is for this server, and returns when raft has closed it.
func (l *raftLayer) hand(conn net.Conn) {
	conn.SetReadDeadline(l.server.handshakeDeadline())
	if err := l.checkReceiver(conn); err != nil {
		l.server.logger.Warn("raft connection refused", "from", conn.RemoteAddr(), "error", err)
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Time{})
	lent := &lentConn{Conn: conn, closed: make(chan struct{})}
	select {
	case l.conns <- lent:
		<-lent.closed
	case <-l.done:
		conn.Close()
	}
}

func (l *raftLayer) checkReceiver(conn net.Conn) error {
	var length [1]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	id := make([]byte, length[0])
	if _, err := io.ReadFull(conn, id); err != nil {
		return err
	}
	if string(id) != l.server.config.NodeID {
		return fmt.Errorf("it is for server %q, and this one is %q: do two clusters use one address?", id, l.server.config.NodeID)
	}
	return nil
}

// lentConn says when it has been closed.
type lentConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

// Close closes the connection.
func (c *lentConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Accept waits for the next connection for raft.
func (l *raftLayer) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, io.EOF
	}
}

// Close is raft's word that it wants no more; the listener is not its to close.
func (l *raftLayer) Close() error {
	close(l.closed)
	return nil
}

// Addr is our address as other servers know it.
func (l *raftLayer) Addr() net.Addr { return rpcAddr(l.server.addr) }

// rpcAddr is an advertised host:port.
type rpcAddr string

func (rpcAddr) Network() string  { return "tcp" }
func (a rpcAddr) String() string { return string(a) }

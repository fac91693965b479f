package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"praetor/agent/config"
)

const tooManyText = "Your IP is issuing too many concurrent connections, please rate limit your calls\n"

// tooMany is the whole reply to a client that has too many connections open.
var tooMany = fmt.Sprintf("HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
	len(tooManyText), tooManyText)

// apiListener gives every client (IP) no more connections than its share.
type apiListener struct {
	net.Listener
	scheme   string
	secure   bool // TLS comes on top of what Accept returns
	settings func() *config.Runtime
	conns    *connCounts
}

// Accept waits for the next connection of a client that may have it.
func (l *apiListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		limits := l.settings().Limits
		client := ""
		if addr, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			client = addr.IP.String()
			if !l.conns.add(client, limits.HTTPMaxConnsPerClient) {
				l.refuse(conn)
				continue
			}
		}
		c := &apiConn{Conn: conn, client: client, conns: l.conns}
		if l.secure && limits.HTTPSHandshakeTimeout > 0 {
			c.handshake = time.AfterFunc(limits.HTTPSHandshakeTimeout, func() { conn.Close() })
		}
		return c, nil
	}
}

// refuse says why, if the client can hear it before TLS, and hangs up.
func (l *apiListener) refuse(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || l.secure || !l.conns.linger(1) {
		conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(conn, tooMany)
	_ = tcp.CloseWrite()
	go func() { // to close with its request unread would make the client lose our reply
		defer l.conns.linger(-1)
		_, _ = io.CopyN(io.Discard, conn, 64<<10)
		conn.Close()
	}()
}

// connCounts says how many connections each client has.
type connCounts struct {
	mu        sync.Mutex // guards the fields below
	by        map[string]int
	lingering int // refused connections that are still open
}

func (c *connCounts) add(client string, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit > 0 && c.by[client] >= limit {
		return false
	}
	c.by[client]++
	return true
}

func (c *connCounts) remove(client string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[client]--; c.by[client] <= 0 {
		delete(c.by, client)
	}
}

// linger counts refused connections in and out; there is room for a few.
func (c *connCounts) linger(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 && c.lingering >= 64 {
		return false
	}
	c.lingering += n
	return true
}

// apiConn is a connection that is counted until it is closed.
type apiConn struct {
	net.Conn
	client    string // "" is not counted
	conns     *connCounts
	handshake *time.Timer // closes the connection unless stopped; nil: none
	once      sync.Once
}

// SyscallConn gives access to the socket, if there is one.
func (c *apiConn) SyscallConn() (syscall.RawConn, error) {
	if socket, ok := c.Conn.(syscall.Conn); ok {
		return socket.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// trusted notes that the TLS handshake is done.
func (c *apiConn) trusted() {
	if c.handshake != nil {
		c.handshake.Stop()
	}
}

// Close closes the connection.
func (c *apiConn) Close() error {
	c.once.Do(func() {
		c.trusted()
		if c.client != "" {
			c.conns.remove(c.client)
		}
	})
	return c.Conn.Close()
}

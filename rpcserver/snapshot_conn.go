package rpcserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"praetor/rpcserver/wire"
	"praetor/structs"
)

// snapshotExchange is the client's side of a snapshot connection
// (consul-wire.md 7.3): request, archive to restore, half-close, reply, archive
// that was saved.
func snapshotExchange(conn net.Conn, q *structs.SnapshotRequest, in io.Reader) (reply structs.SnapshotResponse, archive io.Reader, err error) {
	hello, err := structs.AppendValue([]byte{wire.ByteSnapshot}, q)
	if err != nil {
		return reply, nil, err
	}
	idle := &idleConn{Conn: conn}
	if _, err := idle.Write(hello); err != nil {
		return reply, nil, structs.Errorf(structs.Unreachable, "snapshot request: %v", err)
	}
	if in != nil {
		if _, err := io.Copy(idle, in); err != nil {
			return reply, nil, fmt.Errorf("send snapshot: %w", err)
		}
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return reply, nil, fmt.Errorf("send snapshot: %w", err)
		}
	}
	buffered := bufio.NewReader(idle)
	value, err := structs.ReadValue(buffered, nil, 64<<10) // taking a snapshot has no limit of time
	if err != nil {
		return reply, nil, structs.Errorf(structs.Unclear, "the server hung up before it answered: %v", err)
	}
	if err := structs.DecodeValue(value, &reply); err != nil {
		return reply, nil, err
	}
	if reply.Error != "" {
		return reply, nil, &structs.Error{Code: reply.Code, Text: reply.Error}
	}
	idle.reads = true
	return reply, buffered, nil
}

// serveSnapshot is the server's side.
func (s *Server) serveSnapshot(conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	defer stop()
	conn.SetReadDeadline(s.handshakeDeadline())
	idle := &idleConn{Conn: conn}
	buffered := bufio.NewReader(idle)
	value, err := structs.ReadValue(buffered, nil, 64<<10)
	var q structs.SnapshotRequest
	if err == nil {
		err = structs.DecodeValue(value, &q)
	}
	if err != nil {
		s.logger.Warn("bad snapshot request", "from", conn.RemoteAddr(), "error", err)
		return
	}
	idle.reads = true
	if err := s.answerSnapshot(idle, &q, buffered); err != nil {
		s.logger.Warn("snapshot connection failed", "from", conn.RemoteAddr(), "error", err)
	}
}

func (s *Server) answerSnapshot(conn io.Writer, q *structs.SnapshotRequest, in io.Reader) error {
	var out io.ReadCloser
	var reply structs.SnapshotResponse
	var err error
	switch {
	case q.Datacenter == "":
		err = structs.ErrNoPath // as Consul does
	case q.Op == structs.SnapshotSave:
		reply, err = s.snapshotCall(s.ctx, q, nil, &out)
	case q.Op == structs.SnapshotRestore:
		reply, err = s.snapshotCall(s.ctx, q, in, nil)
	default:
		err = structs.Errorf(structs.Invalid, "unrecognized snapshot op %d", q.Op)
	}
	if err != nil {
		reply.Error, reply.Code = err.Error(), structs.CodeOf(err)
	}
	if out != nil {
		defer out.Close()
	}
	head, err := structs.AppendValue(nil, &reply)
	if err != nil {
		return err
	}
	if _, err := conn.Write(head); err != nil {
		return err
	}
	if out == nil {
		io.Copy(io.Discard, io.LimitReader(in, 64<<20)) // so that closing does not cut off our answer
		return nil
	}
	_, err = io.Copy(conn, out)
	return err
}

// idleConn gives up on a peer that takes nothing for a minute, and, once reads
// is set, on one that sends nothing for a minute.
type idleConn struct {
	net.Conn
	reads bool
}

// Read reads from the connection.
func (c *idleConn) Read(p []byte) (int, error) {
	if c.reads {
		c.SetReadDeadline(time.Now().Add(time.Minute))
	}
	return c.Conn.Read(p)
}

// Write writes to the connection.
func (c *idleConn) Write(p []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(time.Minute))
	return c.Conn.Write(p)
}

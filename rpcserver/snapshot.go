package rpcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// SaveSnapshot takes a snapshot of the cluster's state and returns the archive
// as a stream: close it. If the archive is cut short, reading ends with an
// error. With AllowStale any server takes it of its own state.
func (s *Server) SaveSnapshot(ctx context.Context, q *structs.SnapshotRequest) (io.ReadCloser, structs.QueryMeta, error) {
	q.Op = structs.SnapshotSave
	var archive io.ReadCloser
	meta, err := s.snapshotCall(ctx, q, nil, &archive)
	return archive, meta, err
}

// RestoreSnapshot replaces the cluster's state with that of an archive. The
// archive is checked and decoded as a whole before anything changes.
func (s *Server) RestoreSnapshot(ctx context.Context, q *structs.SnapshotRequest, archive io.Reader) error {
	q.Op = structs.SnapshotRestore
	_, err := s.snapshotCall(ctx, q, archive, nil)
	return err
}

// snapshotCall does one operation here or on the leader. While there is no
// leader it waits up to the hold time; once an archive is being read it is not
// tried again.
func (s *Server) snapshotCall(ctx context.Context, q *structs.SnapshotRequest, in io.Reader, out *io.ReadCloser) (meta structs.QueryMeta, err error) {
	if q.Datacenter == "" {
		q.Datacenter = s.config.Datacenter
	}
	if q.Datacenter != s.config.Datacenter {
		return meta, structs.ErrNoPath
	}
	if q.AllowStale && q.Op == structs.SnapshotRestore {
		return meta, structs.ErrStaleRestore
	}
	deadline := time.Now().Add(s.config.RPCHoldTimeout)
	for {
		if q.AllowStale && s.heardFromLeader() || s.ready() {
			if q.Op == structs.SnapshotRestore {
				return meta, s.restoreHere(in)
			}
			return s.saveHere(ctx, q, out)
		}
		if q.Forwarded && !s.isRaftLeader() {
			return meta, structs.ErrNoLeader
		}
		if addr := s.leaderAddr(); addr != "" && !s.isRaftLeader() {
			return s.snapshotAtLeader(ctx, addr, q, in, out)
		}
		if time.Now().After(deadline) {
			return meta, structs.ErrNoLeader
		}
		select {
		case <-s.leaderChanged():
		case <-time.After(s.config.RPCHoldTimeout / 16):
		case <-ctx.Done():
			return meta, ctx.Err()
		case <-s.ctx.Done():
			return meta, structs.Errorf(structs.Leaving, "server is shutting down")
		}
	}
}

func (s *Server) saveHere(ctx context.Context, q *structs.SnapshotRequest, out *io.ReadCloser) (structs.QueryMeta, error) {
	var meta structs.QueryMeta
	if !q.AllowStale {
		if err := s.proveLeadership(ctx); err != nil {
			return meta, err
		}
	}
	archive, err := s.archive()
	if err != nil {
		return meta, err
	}
	s.setMeta(&meta, archive.Index)
	*out = archive
	return meta, nil
}

func (s *Server) restoreHere(in io.Reader) error {
	dir := os.TempDir()
	if s.config.DataDir != "" {
		dir = filepath.Join(s.config.DataDir, "raft")
	}
	spooled, err := archive.Spool(dir, in)
	if errors.Is(err, archive.ErrCorrupt) {
		return structs.Errorf(structs.Corrupt, "%v", err)
	}
	if err != nil {
		return err
	}
	defer spooled.Close()
	scratch, err := fsm.Load(spooled.File)
	if err != nil {
		return err
	}
	s.logger.Warn("restoring a snapshot: it replaces all that is there", "index", scratch.Header.LastIndex)
	if _, err := spooled.File.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	s.replacing.Lock()
	err = s.questions.ask(func() error { return s.raft.Restore(spooled.Meta, spooled.File, time.Minute) })
	s.replacing.Unlock()
	if err != nil {
		if errors.Is(err, raft.ErrNotLeader) {
			return structs.ErrNoLeader
		}
		return fmt.Errorf("restore: %w", err)
	}
	if err := s.barrier(time.Minute); err != nil {
		return applyError(err)
	}
	return s.reestablish()
}

// snapshotAtLeader passes the operation on over a connection of its own.
func (s *Server) snapshotAtLeader(ctx context.Context, addr string, q *structs.SnapshotRequest, in io.Reader, out *io.ReadCloser) (structs.QueryMeta, error) {
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return structs.QueryMeta{}, structs.Errorf(structs.Unreachable, "cannot reach the leader at %s: %v", addr, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	forwarded := *q
	forwarded.Forwarded = true
	meta, archive, err := snapshotExchange(conn, &forwarded, in)
	if err != nil || out == nil {
		stop()
		conn.Close()
		return meta, err
	}
	*out = &passage{Reader: archive, close: func() error { stop(); return conn.Close() }}
	return meta, nil
}

type passage struct {
	io.Reader
	close func() error
}

// Close closes the connection behind the archive.
func (p *passage) Close() error { return p.close() }

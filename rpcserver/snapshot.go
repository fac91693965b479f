package rpcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// SaveSnapshot takes a snapshot of the cluster's state and returns the archive
// as a stream: close it. If the archive is cut short, reading ends with an
// error. With AllowStale any server takes it of its own state.
func (s *Server) SaveSnapshot(ctx context.Context, q *structs.SnapshotRequest) (io.ReadCloser, structs.QueryMeta, error) {
	q.Op = structs.SnapshotSave
	var archive io.ReadCloser
	reply, err := s.snapshotCall(ctx, q, nil, &archive)
	return archive, reply.QueryMeta, err
}

// RestoreSnapshot replaces the cluster's state with that of an archive. The
// archive is checked and decoded as a whole before anything changes.
func (s *Server) RestoreSnapshot(ctx context.Context, q *structs.SnapshotRequest, archive io.Reader) error {
	_, err := s.RestoreSnapshotReport(ctx, q, archive)
	return err
}

// RestoreSnapshotReport is RestoreSnapshot that says which records were left
// out; that is none unless SkipEnterprise is set.
func (s *Server) RestoreSnapshotReport(ctx context.Context, q *structs.SnapshotRequest, archive io.Reader) (structs.Dropped, error) {
	q.Op = structs.SnapshotRestore
	reply, err := s.snapshotCall(ctx, q, archive, nil)
	return reply.Dropped, err
}

// snapshotCall does one operation here or on the leader. While there is no
// leader it waits up to the hold time; once an archive is being read it is not
// tried again.
func (s *Server) snapshotCall(ctx context.Context, q *structs.SnapshotRequest, in io.Reader, out *io.ReadCloser) (reply structs.SnapshotResponse, err error) {
	if q.Datacenter == "" {
		q.Datacenter = s.config.Datacenter
	}
	if q.Datacenter != s.config.Datacenter {
		return reply, structs.ErrNoPath
	}
	if q.AllowStale && q.Op == structs.SnapshotRestore {
		return reply, structs.ErrStaleRestore
	}
	deadline := time.Now().Add(s.config.RPCHoldTimeout)
	for {
		if err := s.quarantineError(); err != nil {
			return reply, err
		}
		if q.AllowStale && s.heardFromLeader() || s.ready() {
			if q.Op == structs.SnapshotRestore {
				reply.Dropped, err = s.restoreHere(in, q.SkipEnterprise)
			} else {
				reply.QueryMeta, err = s.saveHere(ctx, q, out)
			}
			return reply, err
		}
		if q.Forwarded && !s.isRaftLeader() {
			return reply, structs.ErrNoLeader
		}
		if addr := s.leaderAddr(); addr != "" && !s.isRaftLeader() {
			return s.snapshotAtLeader(ctx, addr, q, in, out)
		}
		if time.Now().After(deadline) {
			return reply, structs.ErrNoLeader
		}
		select {
		case <-s.leaderChanged():
		case <-time.After(s.config.RPCHoldTimeout / 16):
		case <-ctx.Done():
			return reply, ctx.Err()
		case <-s.ctx.Done():
			return reply, structs.Errorf(structs.Leaving, "server is shutting down")
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
	store, err := s.provenStore(ctx, true)
	if err != nil {
		return meta, err
	}
	archive, err := s.archive()
	if err != nil {
		return meta, err
	}
	s.setMeta(&meta, store.Epoch(), archive.Index)
	*out = archive
	return meta, nil
}

func (s *Server) restoreHere(in io.Reader, skipEnterprise bool) (structs.Dropped, error) {
	if err := s.room(); err != nil {
		return nil, err
	}
	u, err := receive(s.uploadDir(), in, skipEnterprise)
	if err != nil {
		return nil, err
	}
	defer u.close()
	if len(u.dropped) > 0 {
		s.logger.Warn("records of Consul Enterprise are left out of the restore", "records", u.dropped)
	}
	s.logger.Warn("restoring a snapshot: it replaces all that is there", "index", u.loaded.Header.LastIndex)
	before := s.fsm.Store()
	err = s.whileSettled(func() error {
		s.replacing.lock()
		defer s.replacing.unlock()
		defer s.readySnapshot.withdraw()
		err := s.raft.Restore(&u.meta, u, time.Minute)
		if err == nil && s.fsm.Store() != u.loaded.Store {
			s.logger.Warn("the snapshot was loaded a second time")
		}
		return err
	})
	switch {
	case err == nil:
	case s.fsm.Store() != before:
		return nil, structs.Errorf(structs.Unclear, "restore: %v: the snapshot may or may not come into force, look at what is there before you try again", err)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost):
		return nil, structs.ErrNoLeader
	default:
		return nil, fmt.Errorf("restore: %w", err)
	}
	if err := s.barrier(time.Minute); err != nil {
		return nil, applyError(err)
	}
	return u.dropped, s.reestablish()
}

// whileSettled has raft restore at a time when no change of its configuration is
// under way: at others it refuses, and does not say by a value that this is why.
// So a restore that has changed nothing is called again, once what was under way
// is committed.
func (s *Server) whileSettled(restore func() error) error {
	before := s.fsm.Store()
	for attempt := 1; ; attempt++ {
		err := s.questions.ask(restore)
		if err == nil || s.fsm.Store() != before || attempt == settleAttempts || s.room() != nil || !s.isRaftLeader() {
			return err
		}
		s.logger.Info("raft did not restore, and will be asked again once its configuration is settled", "error", err)
		if s.barrier(time.Minute) != nil {
			return err
		}
	}
}

// settleAttempts bounds how often a restore is tried; a change takes a round trip.
const settleAttempts = 5

// snapshotAtLeader passes the operation on over a connection of its own.
func (s *Server) snapshotAtLeader(ctx context.Context, addr string, q *structs.SnapshotRequest, in io.Reader, out *io.ReadCloser) (structs.SnapshotResponse, error) {
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return structs.SnapshotResponse{}, structs.Errorf(structs.Unreachable, "cannot reach the leader at %s: %v", addr, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	forwarded := *q
	forwarded.Forwarded = true
	reply, archive, err := snapshotExchange(conn, &forwarded, in)
	if err != nil || out == nil {
		stop()
		conn.Close()
		return reply, err
	}
	*out = &passage{Reader: archive, close: func() error { stop(); return conn.Close() }}
	return reply, nil
}

type passage struct {
	io.Reader
	close func() error
}

// Close closes the connection behind the archive.
func (p *passage) Close() error { return p.close() }

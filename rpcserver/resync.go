package rpcserver

import (
	"context"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

const (
	resyncEvery   = 5 * time.Second
	resyncTimeout = time.Minute
	resyncAhead   = 4096 // entries that a lost leader may have had of its own, at most
)

// A server whose restore was lost with its leadership cannot follow: its log has
// a hole at the index of the snapshot, so raft 1.7.3 refuses every entry that
// its successor sends for that index and goes on refusing, until the successor's
// log begins behind it and a snapshot is sent instead. That may take for ever,
// so it asks the leader to cut its log.

// resync looks after this server until it stops.
func (s *Server) resync() {
	every := time.NewTicker(resyncEvery)
	defer every.Stop()
	var before uint64
	for {
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
		q, ok := s.lostRestore()
		applied := s.raft.AppliedIndex()
		if late := s.late.Swap(false); late && applied == before {
			q, ok = &structs.ResyncRequest{Datacenter: s.config.Datacenter, Last: s.raft.LastIndex(), Late: true}, true
		}
		before = applied
		if ok {
			ctx, cancel := context.WithTimeout(s.ctx, resyncTimeout)
			if err := s.Call(ctx, "Praetor.Resync", q, &structs.ResyncReply{}); err != nil && s.ctx.Err() == nil {
				s.logger.Warn("this server cannot follow, and the leader does not help", "error", err)
			}
			cancel()
		}
	}
}

// lostRestore describes the snapshot that this server has restored, if the
// cluster is not known to have it and another server leads.
func (s *Server) lostRestore() (*structs.ResyncRequest, bool) {
	store := s.fsm.Store()
	if s.proven(store) || s.isRaftLeader() || s.leaderAddr() == "" {
		return nil, false
	}
	stats := s.raft.Stats()
	index, _ := strconv.ParseUint(stats["last_snapshot_index"], 10, 64)
	term, err := strconv.ParseUint(stats["last_snapshot_term"], 10, 64)
	if err != nil || index != store.Epoch().Floor {
		return nil, false // raft is just taking it over
	}
	return &structs.ResyncRequest{Datacenter: s.config.Datacenter, Index: index, Term: term, Last: s.raft.LastIndex()}, true
}

// resyncPeer makes it possible for a server to follow again: if another entry
// stands in our log where it has a snapshot, its snapshot never was the
// cluster's; or it is ahead of our snapshot without being able to take what comes
// behind it. In all other cases raft helps itself.
func resyncPeer(s *Server, q *structs.ResyncRequest, reply *structs.ResyncReply) error {
	var ours raft.Log
	if !q.Late {
		if err := s.logs.GetLog(q.Index, &ours); err != nil || ours.Term == q.Term {
			return nil
		}
	}
	if q.Last > s.raft.LastIndex()+resyncAhead {
		return structs.Errorf(structs.Invalid, "a server at index %d cannot have followed this cluster, which is at %d", q.Last, s.raft.LastIndex())
	}
	s.logger.Warn("cutting the log, so that a server that cannot follow it is sent a snapshot",
		"restore_was_lost", !q.Late, "index", q.Index, "term", q.Term, "our_term", ours.Term, "last", q.Last)
	// Our snapshot must be ahead of all that the server has, or raft would go by that.
	for s.raft.AppliedIndex() <= q.Last {
		if err := s.barrier(resyncTimeout); err != nil {
			return applyError(err)
		}
	}
	if err := s.cutLog(); err != nil {
		return structs.Errorf(structs.Busy, "cannot cut the log: %v", err)
	}
	reply.Cut = true
	return nil
}

// cutLog takes a snapshot and keeps nothing of the log up to there.
func (s *Server) cutLog() error {
	s.raftSettings.Lock()
	defer s.raftSettings.Unlock()
	normal := s.raft.ReloadableConfig()
	none := normal
	none.TrailingLogs = 0
	if err := s.raft.ReloadConfig(none); err != nil {
		return err
	}
	err := s.questions.ask(func() error { return s.raft.Snapshot().Error() })
	if again := s.raft.ReloadConfig(normal); again != nil {
		s.logger.Error("cannot go back to the number of log entries that are kept", "error", again)
	}
	return err
}

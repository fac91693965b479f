package rpcserver

import (
	"fmt"
	"io"
	"strconv"

	"github.com/hashicorp/raft"
)

// Raft does not hear every call that others make to it. What it must not hear is
// refused, or answered here.

// mayHear are the calls that raft gets to see.
func (s *Server) mayHear(calls <-chan raft.RPC) <-chan raft.RPC {
	heard := make(chan raft.RPC)
	up := s.raftLayer.up
	s.tasks.Go(func() {
		for {
			select {
			case call := <-calls:
				if s.answered(call, up) {
					continue
				}
				select {
				case heard <- call:
				case <-s.ctx.Done():
					call.Respond(nil, raft.ErrRaftShutdown)
					return
				}
			case <-s.ctx.Done():
				return
			}
		}
	})
	return heard
}

// answered answers a call that raft must not hear. Calls that come while raft
// starts, before up closes, wait if raft has to be asked about them.
func (s *Server) answered(call raft.RPC, up <-chan struct{}) bool {
	err := s.refusal(call.Command)
	switch q := call.Command.(type) {
	case *raft.InstallSnapshotRequest:
		if !s.waitFor(up) {
			break
		}
		here, follows := s.covers(q)
		if !here {
			break
		}
		s.logger.Info("not taking a snapshot, all of it is here", "index", q.LastLogIndex, "term", q.LastLogTerm)
		if !follows {
			s.late.Store(true)
		}
		go func() {
			io.Copy(io.Discard, call.Reader) // or the sender would find no answer behind it
			call.Respond(&raft.InstallSnapshotResponse{Term: q.Term, Success: follows}, nil)
		}()
		return true
	case *raft.AppendEntriesRequest:
		if len(q.Entries) > 0 && s.waitFor(up) {
			err = s.contradicted(q.Entries)
		}
		if q.PrevLogEntry > 0 && s.waitFor(up) {
			s.joinSnapshot(q)
		}
	}
	if err != nil {
		call.Respond(nil, err)
	}
	return err != nil
}

// waitFor waits until raft is there, and reports whether it is.
func (s *Server) waitFor(up <-chan struct{}) bool {
	select {
	case <-up:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// refusal says why raft must not hear of a call; nil if it may. A server without
// a vote of its own accord does not hear of elections.
func (s *Server) refusal(command any) error {
	if s.mute.Load() && isElection(command) {
		return errRepairing
	}
	if _, ok := command.(*raft.TimeoutNowRequest); ok {
		return s.quarantineError() // leadership is not for us; a vote for others is right, the log is
	}
	return nil
}

// covers reports whether all of a snapshot is here, in the log or in the state. It
// may come late: the leader lost our answers, or it once took us out of its
// configuration, let us in again, and what it had begun before goes on. Raft
// 1.7.3 would go back to it, and with a log without gaps (wal) throw away all
// entries behind it, which this server has acknowledged, and panic when the next
// one is committed.
//
// If follows, we can take the entry behind the snapshot, and the leader may go on
// there. Otherwise our log begins later and contradicts the leader's: told to go
// on, it would be refused, send the snapshot again, and so on without a pause.
// Then it takes a newer snapshot, for which resync asks.
func (s *Server) covers(q *raft.InstallSnapshotRequest) (here, follows bool) {
	var ours raft.Log
	same := s.isSnapshot(q.LastLogIndex, q.LastLogTerm)
	follows = same && s.raft.LastIndex() == q.LastLogIndex ||
		s.logs.GetLog(q.LastLogIndex, &ours) == nil && ours.Term == q.LastLogTerm
	here = follows || same || s.raft.AppliedIndex() >= q.LastLogIndex && s.proven(s.fsm.Store())
	// Asked last: a leader of an earlier term, whose snapshot may be a restore that
	// was lost, has to hear of the later one from raft.
	return here && s.raft.CurrentTerm() <= q.Term, follows
}

// joinSnapshot helps raft to see that entries come right behind our snapshot. Raft
// 1.7.3 looks for the entry before them in the log only, unless that is our newest:
// with another one behind the snapshot, which the cluster never took, and none
// before it, it refuses everything from then on. That the entry before is the last
// in the snapshot is what it would ask, so it need not.
func (s *Server) joinSnapshot(q *raft.AppendEntriesRequest) {
	var ours raft.Log
	if q.PrevLogEntry >= s.raft.LastIndex() || s.logs.GetLog(q.PrevLogEntry, &ours) == nil {
		return
	}
	if s.isSnapshot(q.PrevLogEntry, q.PrevLogTerm) {
		q.PrevLogEntry, q.PrevLogTerm = 0, 0
	}
}

// isSnapshot reports whether raft's newest snapshot is of this index and term.
func (s *Server) isSnapshot(index, term uint64) bool {
	stats := s.raft.Stats()
	return stats["last_snapshot_index"] == strconv.FormatUint(index, 10) && stats["last_snapshot_term"] == strconv.FormatUint(term, 10)
}

// contradicted refuses entries of a leader whose history has another entry at the
// index of our snapshot: raft would take them, and go by our state as if it were
// theirs, where our log reaches back to before a restore that was lost. Refused,
// it gets a snapshot by resync. Raft must not hear of them at all: it cuts its log
// before it stores them, and takes the end for where it was if that fails.
func (s *Server) contradicted(logs []*raft.Log) error {
	store := s.fsm.Store()
	floor := store.Epoch().Floor
	if logs[0].Index > floor || logs[len(logs)-1].Index < floor || s.proven(store) {
		return nil
	}
	stats := s.raft.Stats()
	for _, log := range logs {
		if log.Index == floor && stats["last_snapshot_index"] == strconv.FormatUint(floor, 10) &&
			stats["last_snapshot_term"] != strconv.FormatUint(log.Term, 10) {
			return fmt.Errorf("the snapshot of index %d here is of term %s, and the leader's entry of term %d", floor, stats["last_snapshot_term"], log.Term)
		}
	}
	return nil
}

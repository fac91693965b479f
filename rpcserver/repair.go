package rpcserver

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver/logstore"
	"praetor/structs"
)

// A server whose log or snapshot is damaged gets it again from its leader,
// without help. What makes that sound:
//
// It keeps its term and vote, so it votes in no term twice. They have checksums;
// if they do not fit, there is no repair.
//
// It has forgotten entries that it told a leader it had. Such an entry may be
// committed and be on one other server only, and a vote of ours for a third could
// make a leader that lacks it. So it neither votes nor stands for election until
// all that it ever had is committed here again: entries up to the index that its
// record says it had come to. Raft's log has one committed entry at an index, and
// whoever leads meanwhile was elected without us and has them all. If too many
// servers are damaged for a leader, there is none, and an operator must choose.
//
// After a power failure the record may be behind what this server had told a
// leader. So it also asks the leader, once it has started again, how far its log
// goes, and waits for that too: a leader that counted entries of ours has them
// itself, and one that was elected after them has all that were committed.
//
// It repairs itself only if it knows of another voter: alone, it would wait for
// ever for what nobody has.

var errRepairing = errors.New("this server lost a part of its log and does not vote until it has it again")

// repair puts an empty log in the place of a damaged one, or returns why that
// cannot be.
func (s *Server) repair(cause error) error {
	aside, until, err := logstore.Renew(filepath.Join(s.config.DataDir, "raft"), s.config.NodeID, s.logOptions())
	if structs.IsCode(err, structs.Corrupt) {
		return cause
	}
	if err != nil {
		return err
	}
	s.logger.Error("this server's raft log or snapshot is damaged: getting it again from the leader; until then this server has no vote",
		"damage", cause, "until", until, "damaged log", aside)
	if s.snapshots != nil {
		return s.snapshots.moveAside()
	}
	return nil
}

// repairing reports whether this server has lost entries and not got them again.
func (s *Server) repairing() bool { return s.store != nil && s.store.Repairing() > 0 }

// closeRaft undoes openRaft, as far as it got.
func (s *Server) closeRaft() {
	if s.raft.Raft != nil {
		s.raft.Shutdown().Error()
		s.raft.Raft = nil
	}
	s.raftTrans.Close()
	if s.logs != nil {
		s.logs.Close()
		s.logs, s.store = nil, nil
	}
}

// awaitRepair waits until all that this server ever had is committed here, and
// then gives it its vote back.
func (s *Server) awaitRepair() {
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	until, asked := s.store.Repairing(), false
	for !asked || s.raft.AppliedIndex() < until {
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
		if asked {
			continue
		}
		var leader structs.Frontier
		if err := s.Call(s.ctx, "Praetor.Frontier", &structs.DCSpecificRequest{}, &leader); err == nil {
			until, asked = max(until, leader.Last), true
		}
	}
	if err := s.store.SetRepairing(0); err != nil {
		s.logger.Error("cannot note that the log is whole again: no vote until the next start", "error", err)
		return
	}
	s.mute.Store(false)
	s.logger.Info("the log is whole again, this server votes", "index", until)
}

// mayStand returns nil if this server may stand for election.
func (s *Server) mayStand() error {
	if s.mute.Load() {
		return errRepairing
	}
	return s.quarantineError()
}

var errDiskFailed = errors.New("a write to the raft log has failed just now, so that this server does not stand for election")

func isElection(command any) bool {
	switch command.(type) {
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest, *raft.TimeoutNowRequest:
		return true
	}
	return false
}

// RequestVote asks another server for its vote.
func (t raftTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, q *raft.RequestVoteRequest, reply *raft.RequestVoteResponse) error {
	if err := t.server.mayStand(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestVote(id, target, q, reply)
}

// RequestPreVote asks another server whether it would vote for us. While writes to
// the log fail, the others go first: a server whose log is as long as theirs would
// else win election after election, and lose its office with the first entry.
func (t raftTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, q *raft.RequestPreVoteRequest, reply *raft.RequestPreVoteResponse) error {
	if err := t.server.mayStand(); err != nil {
		return err
	}
	if t.server.disk.sinceFailure() < 4*t.server.config.Raft.ElectionTimeout {
		return errDiskFailed
	}
	return t.NetworkTransport.RequestPreVote(id, target, q, reply)
}

// Consumer is where raft gets the calls of others.
func (t raftTransport) Consumer() <-chan raft.RPC { return t.calls }

// transport is how raft talks to others. A store that is being repaired makes
// it mute.
func (s *Server) transport() raftTransport {
	if s.repairing() {
		s.mute.Store(true)
	}
	return raftTransport{s.raftTrans, s, s.mayHear(s.raftTrans.Consumer())}
}

// startOnDisk opens raft, after a repair if one is needed and can be.
func (s *Server) startOnDisk() error {
	err := s.openRaft()
	if s.config.DataDir == "" || !structs.IsCode(err, structs.Corrupt) {
		return err
	}
	s.closeRaft()
	if err := s.repair(err); err != nil {
		return err
	}
	s.renewState()
	return s.openRaft()
}

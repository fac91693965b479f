package rpcserver

import (
	"time"

	"github.com/hashicorp/raft"
)

// An entry of the log may be damaged while the server runs: then whoever needs it
// finds out, long after it was applied. The state in memory does not come from
// there any more and is sound. So the server takes a snapshot of it: from then on
// the entry is one that a snapshot covers, and it counts as no longer there. A
// follower that lags and would need it is sent the snapshot, as it is after the
// log was cut, and a start does not read it. This holds for a leader and a
// follower alike, and nobody steps down for it.
//
// An entry that was not applied yet is read once more only if raft's cache does not
// have it. Raft cannot go on without it and ends the process, and the next start
// finds the damage and repairs the log (repair.go).

// mendAgain is how long a snapshot that failed is waited for.
const mendAgain = time.Minute

// damagedEntry takes note that raft has read a damaged entry, and says what raft
// is told of it: nothing is there, once a snapshot covers it.
func (s *Server) damagedEntry(index uint64, err error) error {
	if !isClosed(s.raftLayer.up) {
		return err // starting: see damage.go
	}
	if index <= s.store.Snapshot() {
		return raft.ErrLogNotFound
	}
	select {
	case s.mend <- damage{index, err}:
	default: // one snapshot covers them all
	}
	return err
}

type damage struct {
	index uint64
	err   error
}

// mendLog takes a snapshot when a damaged entry was read.
func (s *Server) mendLog() {
	for {
		var found damage
		select {
		case found = <-s.mend:
		case <-s.ctx.Done():
			return
		}
		if found.index <= s.store.Snapshot() {
			continue
		}
		s.logger.Error("an entry of the raft log is damaged; taking a snapshot, so that it is not needed any more", "index", found.index, "error", found.err)
		var err error
		s.questions.ask(func() error { err = s.raft.Snapshot().Error(); return err })
		if err == nil {
			s.logger.Info("a snapshot covers what was damaged", "damaged", found.index, "snapshot", s.store.Snapshot())
			continue
		}
		s.logger.Error("cannot take a snapshot to cover a damaged entry", "error", err)
		select {
		case <-time.After(mendAgain):
		case <-s.ctx.Done():
			return
		}
	}
}

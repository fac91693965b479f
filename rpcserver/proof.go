package rpcserver

import (
	"context"
	"sync"
	"time"

	"praetor/structs"
)

// proofs lets reads that come at the same time share one proof of leadership. A
// proof counts only for those who asked before it began, so whoever comes while
// one is under way shares the next.
type proofs struct {
	mu      sync.Mutex // guards the fields below
	next    *proof     // not begun
	running bool
	made    uint64 // proofs begun so far
}

type proof struct {
	done chan struct{}
	err  error
}

// Proofs is how many proofs of leadership this server has asked for.
func (s *Server) Proofs() uint64 {
	s.proofs.mu.Lock()
	defer s.proofs.mu.Unlock()
	return s.proofs.made
}

// proveLeadership returns nil if this server was the leader, with all that was
// committed before applied, at some moment after the call.
func (s *Server) proveLeadership(ctx context.Context) error {
	s.proofs.mu.Lock()
	mine := s.proofs.next
	if mine == nil {
		mine = &proof{done: make(chan struct{})}
		s.proofs.next = mine
		if !s.proofs.running {
			s.proofs.running = true
			s.tasks.Go(s.prove)
		}
	}
	s.proofs.mu.Unlock()
	for {
		changed := s.leaderChanged()
		if s.frozen.Load() { // raft waits for the disk, and does not answer
			return structs.ErrNoLeader
		}
		select {
		case <-mine.done:
			return mine.err
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return errStopping
		}
	}
}

// prove makes proofs as long as somebody waits for one.
func (s *Server) prove() {
	for {
		s.proofs.mu.Lock()
		p := s.proofs.next
		s.proofs.next = nil
		if p == nil {
			s.proofs.running = false
			s.proofs.mu.Unlock()
			return
		}
		s.proofs.made++
		s.proofs.mu.Unlock()
		if err := s.verifyLeader(); err != nil {
			p.err = structs.ErrNoLeader // not any more, so it can be found elsewhere
		} else if !s.ready() || s.handingOver.Load() > 0 {
			p.err = structs.ErrNotReady
		}
		close(p.done)
	}
}

// proofPatience is how long raft has to answer whether it leads. A round of
// heartbeats takes milliseconds, a loss of leadership less than half a second.
const proofPatience = time.Second

// verifyLeader asks raft whether it leads, and again when it does not say. It
// never does where the quorum has shrunk to this server alone meanwhile: raft
// 1.7.3 waits for an answer of the voter that is one no more.
func (s *Server) verifyLeader() error {
	for {
		if err := s.askIfLeading(); err != errNoAnswer {
			return err
		}
		if s.frozen.Load() {
			return structs.ErrNoLeader // it waits for the disk
		}
	}
}

// askIfLeading asks raft once whether it leads, and returns errNoAnswer if it does not say.
func (s *Server) askIfLeading() error {
	return s.questions.askFor(proofPatience, func() error { return s.raft.VerifyLeader().Error() })
}

package rpcserver

import (
	"fmt"
	"time"
)

// leaveGrace is how long a leaving server waits to be taken out of raft.
const leaveGrace = 5 * time.Second

// Leave takes this server out of the cluster for good: it hands leadership
// over, says goodbye in gossip and waits until the leader has taken it out of
// raft. Shutdown must follow.
func (s *Server) Leave() error {
	s.logger.Info("leaving the cluster")
	s.leaving.Store(true)
	voters := s.voters()
	s.handOver() // if that fails we do not take ourselves out instead, see askNextLeader: the next leader will
	if err := s.sayGoodbye(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	// The others learn of it within a gossip round or two; meanwhile, as long as
	// we hear of a leader, requests are still answered.
	if voters > 1 || !s.isRaftLeader() {
		s.awaitRemoval()
	}
	return nil
}

// sayGoodbye leaves gossip, which takes seconds. Should the server be stopped
// meanwhile, memberlist panics; there is nobody left to say goodbye to then.
func (s *Server) sayGoodbye() (err error) {
	defer func() {
		if s.ctx.Err() == nil {
			return
		}
		if recover() != nil {
			err = errStopping
		}
	}()
	return s.serf.Leave()
}

// awaitRemoval waits until raft's configuration no longer has us, for a while.
func (s *Server) awaitRemoval() {
	deadline := time.Now().Add(max(leaveGrace, s.config.LeaveDrainTime))
	for time.Now().Before(deadline) {
		if !s.inConfiguration() {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.ctx.Done():
			return
		}
	}
	s.logger.Warn("leaving although no leader has taken this server out of raft yet: if 'praetor operator raft list-peers' goes on showing it, take it out with 'praetor operator raft remove-peer'", "id", s.config.NodeID)
}

func (s *Server) inConfiguration() bool {
	future := s.raft.GetConfiguration()
	if future.Error() != nil {
		return false
	}
	for _, server := range future.Configuration().Servers {
		if string(server.ID) == s.config.NodeID {
			return true
		}
	}
	return false
}

package rpcserver

import (
	"time"

	"github.com/hashicorp/raft"
)

// handover is raft as autopilot and we see it: it knows while leadership is
// being handed over. Meanwhile nothing proves that we lead, since the successor
// may be at work before we hear of it: it does not wait for our lease to end,
// and raft 1.7.3 counts what servers without a vote say (verifyLeader).
// And it changes its configuration at no time when the state is replaced, which
// raft refuses for as long as a change of the configuration is not committed.
type handover struct {
	*raft.Raft
	server *Server
}

// LeadershipTransfer hands leadership to whoever has most of the log, and
// returns when that is done.
func (h handover) LeadershipTransfer() raft.Future {
	return h.transfer(h.Raft.LeadershipTransfer)
}

// LeadershipTransferToServer hands leadership to one server, and returns when
// that is done.
func (h handover) LeadershipTransferToServer(id raft.ServerID, addr raft.ServerAddress) raft.Future {
	return h.transfer(func() raft.Future { return h.Raft.LeadershipTransferToServer(id, addr) })
}

func (h handover) transfer(start func() raft.Future) raft.Future {
	h.server.handingOver.Add(1)
	defer h.server.handingOver.Add(-1)
	return settled{h.server.questions.ask(func() error { return start().Error() })}
}

// settled is a future that has come.
type settled struct{ err error }

// Error returns how it ended.
func (s settled) Error() error { return s.err }

// Index is 0: it was not done.
func (s settled) Index() uint64 { return 0 }

// AddVoter makes a server a voter, and returns when that is done.
func (h handover) AddVoter(id raft.ServerID, addr raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	return h.reconfigure(func() raft.IndexFuture { return h.Raft.AddVoter(id, addr, prev, timeout) })
}

// AddNonvoter adds a server without a vote, and returns when that is done.
func (h handover) AddNonvoter(id raft.ServerID, addr raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	return h.reconfigure(func() raft.IndexFuture { return h.Raft.AddNonvoter(id, addr, prev, timeout) })
}

// DemoteVoter takes a server's vote, and returns when that is done.
func (h handover) DemoteVoter(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture {
	return h.reconfigure(func() raft.IndexFuture { return h.Raft.DemoteVoter(id, prev, timeout) })
}

// RemoveServer takes a server out, and returns when that is done.
func (h handover) RemoveServer(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture {
	return h.reconfigure(func() raft.IndexFuture { return h.Raft.RemoveServer(id, prev, timeout) })
}

func (h handover) reconfigure(start func() raft.IndexFuture) raft.IndexFuture {
	release, err := h.server.holdConfiguration()
	if err != nil {
		return settled{err}
	}
	defer release()
	future := start()
	future.Error() // waits
	return future
}

// holdConfiguration waits until raft's configuration is committed and keeps
// everybody else from changing it.
func (s *Server) holdConfiguration() (release func(), err error) {
	select {
	case s.configuring <- struct{}{}:
		return func() { <-s.configuring }, nil
	case <-s.ctx.Done():
		return nil, errStopping
	}
}

package rpcserver

import "github.com/hashicorp/raft"

// handover is raft as autopilot and we see it: it knows while leadership is
// being handed over. Meanwhile nothing proves that we lead, since the successor
// may be at work before we hear of it: it does not wait for our lease to end,
// and raft 1.7.3 counts what servers without a vote say (verifyLeader).
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

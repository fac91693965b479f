package rpcserver

import (
	"sync"

	"github.com/hashicorp/raft"
)

// handover is raft as autopilot and we see it: it knows while leadership is
// being handed over. Meanwhile nothing proves that we lead, since the successor
// may be at work before we hear of it: it does not wait for our lease to end,
// and raft 1.7.3 counts what servers without a vote say (verifyLeader).
type handover struct {
	*raft.Raft
	server *Server
}

// LeadershipTransfer hands leadership to whoever has most of the log.
func (h handover) LeadershipTransfer() raft.Future {
	return h.watch(h.Raft.LeadershipTransfer)
}

// LeadershipTransferToServer hands leadership to one server.
func (h handover) LeadershipTransferToServer(id raft.ServerID, addr raft.ServerAddress) raft.Future {
	return h.watch(func() raft.Future { return h.Raft.LeadershipTransferToServer(id, addr) })
}

// watch starts a transfer; its future must be asked for its error.
func (h handover) watch(start func() raft.Future) raft.Future {
	h.server.handingOver.Add(1)
	return &transfer{Future: start(), over: sync.OnceFunc(func() { h.server.handingOver.Add(-1) })}
}

type transfer struct {
	raft.Future
	over func()
}

// Error waits until the transfer has ended.
func (t *transfer) Error() error {
	err := t.Future.Error()
	t.over()
	return err
}

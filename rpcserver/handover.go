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

// questions are the requests that wait for raft's answer. Raft 1.7.3 forgets
// those that reach it while it shuts down, and who has asked then waits for
// ever. So raft is stopped only when all are answered, which does not take
// long: a leader without followers steps down and answers them all.
type questions struct {
	mu     sync.Mutex // guards closed, and open against an Add after the Wait
	closed bool
	open   sync.WaitGroup
}

// ask runs f, which asks raft and waits, or returns errStopping without asking.
func (q *questions) ask(f func() error) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errStopping
	}
	q.open.Add(1)
	q.mu.Unlock()
	defer q.open.Done()
	return f()
}

// end waits until all questions are answered; later ones are not asked.
func (q *questions) end() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.open.Wait()
}

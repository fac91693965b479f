package rpcserver

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// lease is how long nobody else can lead: a follower that hears the leader votes
// for no other one before its election timeout, which is longer than the lease.
// Default reads trust it.
//
// Raft has a lease of its own and gives up leadership when it is over. But the
// goroutine that looks at it also writes to the disk, and while that hangs, or
// after a pause of the whole process (SIGSTOP, a virtual machine that was moved),
// others may have elected a leader long ago. This one goes by the answers to
// heartbeats alone, and by when those were sent.
type lease struct {
	lasts time.Duration

	mu    sync.Mutex // guards the fields below
	term  uint64
	heard map[raft.ServerID]time.Time // when that was sent, in this term, which a server has answered last

	known atomic.Pointer[leaseEnd] // as last worked out
}

type leaseEnd struct {
	term uint64
	at   time.Time
}

// answered notes that a server has taken, in this term, what was sent to it then.
func (l *lease) answered(id raft.ServerID, term uint64, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if term < l.term {
		return
	}
	if term > l.term || l.heard == nil {
		l.term, l.heard = term, map[raft.ServerID]time.Time{}
	}
	if sent.After(l.heard[id]) {
		l.heard[id] = sent
	}
}

// holds reports whether nobody else can lead yet at a time, for a leader in this
// term. Its caller says who votes, if need be, and whether it is one of them.
func (l *lease) holds(now time.Time, term uint64, voters func() (others []raft.ServerID, self bool)) bool {
	if known := l.known.Load(); known != nil && known.term == term && now.Before(known.at) {
		return true
	}
	others, self := voters()
	end := &leaseEnd{term, l.end(now, term, others, self)}
	l.known.Store(end)
	return now.Before(end.at)
}

// end is when it is over: a while after that was sent which a majority of the
// voters has answered. A server has answered itself.
func (l *lease) end(now time.Time, term uint64, others []raft.ServerID, self bool) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var heard []time.Time
	if self {
		heard = append(heard, now)
	}
	for _, id := range others {
		if at, ok := l.heard[id]; ok && l.term == term {
			heard = append(heard, at)
		}
	}
	votes := len(others)
	if self {
		votes++
	}
	majority := votes/2 + 1
	if len(heard) < majority {
		return time.Time{}
	}
	slices.SortFunc(heard, time.Time.Compare)
	return heard[len(heard)-majority].Add(l.lasts)
}

// leaseHolds reports whether this server leads and no other one can yet. It may
// say no for the first moments of a term.
func (s *Server) leaseHolds() bool {
	term := s.readyTerm.Load()
	return term > 0 && s.lease.holds(time.Now(), term, s.whoVotes)
}

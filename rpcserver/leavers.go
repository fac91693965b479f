package rpcserver

import (
	"time"

	"github.com/hashicorp/serf/serf"
)

const (
	// leavingLook is how often the leader looks at members that leave.
	leavingLook = time.Second
	// leavingDoubt is how long leaving may take. Serf gives itself two timeouts of
	// 5 s, and one to spread the news.
	leavingDoubt = 15 * time.Second
)

// leavers are the members that gossip says are about to leave. What they do then
// comes without an event where the news of it is overtaken: a member that is back
// is taken for alive again, and would have no place in raft until the next round
// over all members.
//
// Worse, that a member was made to leave while nobody could hear it may reach a
// server after the member is back. It is not told, so that it cannot object, and
// serf goes on saying for ever that it is leaving.
//
// Only the goroutine of the leader's duties uses it.
type leavers struct {
	seen map[string]leaver // by name
}

type leaver struct {
	serf.Member
	since time.Time
}

func (l *leavers) reset() { l.seen = map[string]leaver{} }

// note keeps a member in mind for as long as it leaves.
func (l *leavers) note(m serf.Member) {
	if m.Status != serf.StatusLeaving {
		delete(l.seen, m.Name)
	} else if _, ok := l.seen[m.Name]; !ok {
		l.seen[m.Name] = leaver{m, time.Now()}
	}
}

// lookAtLeavers sees what has become of them. One that does not get on with it
// has its place as before; and it is told, so that it can object.
func (s *Server) lookAtLeavers() {
	for name, l := range s.leavers.seen {
		m := s.asNow(l.Member)
		stays := m.Status == serf.StatusLeaving && time.Since(l.since) >= leavingDoubt
		if stays {
			m.Status = serf.StatusAlive
		}
		s.reconcileMember(m)
		if !stays {
			continue
		}
		s.logger.Info("a member said to leave is still there: telling it", "member", name)
		s.leavers.note(l.Member) // again, from now on
		s.tasks.Go(func() {
			if err := s.serf.RemoveFailedNode(name); err != nil && s.ctx.Err() == nil {
				s.logger.Warn("cannot tell a member that it is said to leave", "member", name, "error", err)
			}
		})
	}
}

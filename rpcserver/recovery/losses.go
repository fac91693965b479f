package recovery

import (
	"fmt"
	"time"
)

// Losses says in sentences what may be lost, and how that is known.
//
// A write is acknowledged once a majority of the voters has it on disk. If
// enough voters are left that no majority is without one of them, one of them
// has every acknowledged write, and so has the one that raft's rule puts first
// (raft paper, leader completeness). Else a majority may be among those that
// are gone.
//
// The time up to which nothing is lost holds whoever is left. The leader that
// appended the last entry had all that was committed before its term, and gave
// what it committed itself an earlier place in the same log, or a later time. A
// leader of a later term was elected after this one had lost its lease.
func (p *Plan) Losses() []string {
	c := p.Chosen
	if c == nil {
		return nil
	}
	var text []string
	majority := p.Voters/2 + 1
	gone := p.Voters - p.Left
	most := p.most()
	switch {
	case p.Losing > 0:
		text = append(text, fmt.Sprintf("%d entries that %s has will be lost, because %s has not got them. Writes in them may have been acknowledged.",
			p.Losing, most.Name(), c.Name()))
		text = append(text, c.until()...)
	case gone < majority:
		text = append(text, fmt.Sprintf("An acknowledged write is on at least %d of the %d voters, and only %d are not here: so one of those that are "+
			"here has it, and %s has all that any of them has. No acknowledged write is lost.", majority, p.Voters, gone, c.Name()))
	default:
		text = append(text, fmt.Sprintf("An acknowledged write is on at least %d of the %d voters. %d of them are not here, enough for that: "+
			"what only those had is lost, and nothing here can tell how much it is.", majority, p.Voters, gone))
		text = append(text, c.until()...)
	}
	if c.Term > c.LastTerm && gone >= majority {
		text = append(text, fmt.Sprintf("It has heard of term %d, and its last entry is of term %d: there was an election since, or the attempt at one. "+
			"If that made a leader, what it acknowledged may be among what is lost.", c.Term, c.LastTerm))
	}
	if p.Left == 0 {
		text = append(text, "Only servers without a vote are left. They have what a leader sent them, so the above holds for them too; the best one gets "+
			"a vote now. Start it without read_replica (-read-replica), or it will be the only voter until others join.")
	}
	text = append(text, fmt.Sprintf("Entries that %s has and that were never acknowledged come into force.", c.Name()))
	return text
}

// until says up to when nothing is lost.
func (s *Survivor) until() []string {
	at := fmt.Sprintf("entry %d of term %d", s.LastIndex, s.LastTerm)
	if s.LastTime.IsZero() {
		return []string{fmt.Sprintf("The last that %s has is %s; when it was written is not recorded.", s.Name(), at)}
	}
	when := s.LastTime.UTC().Format(time.RFC3339Nano)
	return []string{
		fmt.Sprintf("Every write acknowledged before %s is here. That is when the leader of that time, by its clock, appended the last entry "+
			"that %s has (%s).", when, s.Name(), at),
		fmt.Sprintf("Writes acknowledged after %s may be lost.", when),
	}
}

// Compared says how a survivor stands beside the one whose data counts.
func (p *Plan) Compared(s *Survivor) string {
	c := p.Chosen
	switch {
	case !s.Fit:
		return "damaged"
	case c == nil:
		return ""
	case s == p.Best && s == c:
		return "best"
	case s == p.Best:
		return fmt.Sprintf("best, ahead by %d", s.beyond(c))
	case s == c:
		return fmt.Sprintf("chosen, behind by %d", p.Best.beyond(s))
	case s.ahead(c):
		return fmt.Sprintf("ahead by %d", s.beyond(c))
	case !c.ahead(s):
		return "the same"
	case s.LastTerm < c.LastTerm && s.beyond(c) > 0:
		return fmt.Sprintf("behind by %d, and %d of an older term that no leader kept", c.beyond(s), s.beyond(c))
	}
	return fmt.Sprintf("behind by %d", c.beyond(s))
}

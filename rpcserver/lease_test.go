package rpcserver

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A lease runs from when that was sent which a majority has answered, in this
// term, and not from the answers.
func TestLease(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type answer struct {
		from raft.ServerID
		term uint64
		sent time.Duration
	}
	three, four := []raft.ServerID{"b", "c"}, []raft.ServerID{"b", "c", "d"}
	for _, tt := range []struct {
		name    string
		others  []raft.ServerID
		outside bool // this server does not vote
		answers []answer
		until   time.Duration // 0: it does not hold at all
	}{
		{name: "alone", until: 1400 * ms},
		{name: "nobody has answered", others: three},
		{name: "one of two others", others: three, answers: []answer{{"b", 7, 900 * ms}}, until: 1300 * ms},
		{name: "the later one counts", others: three, answers: []answer{{"b", 7, 700 * ms}, {"c", 7, 950 * ms}}, until: 1350 * ms},
		{name: "the last answer counts", others: three, answers: []answer{{"b", 7, 950 * ms}, {"b", 7, 900 * ms}}, until: 1350 * ms},
		{name: "one of three others", others: four, answers: []answer{{"b", 7, 900 * ms}}},
		{name: "two of three others", others: four, answers: []answer{{"b", 7, 700 * ms}, {"c", 7, 900 * ms}}, until: 1100 * ms},
		{name: "who does not vote", others: three, answers: []answer{{"x", 7, 900 * ms}}},
		{name: "an earlier term", others: three, answers: []answer{{"b", 6, 900 * ms}}},
		{name: "an earlier term, late", others: three, answers: []answer{{"b", 7, 800 * ms}, {"c", 6, 900 * ms}}, until: 1200 * ms},
		{name: "a leader without a vote", others: three, outside: true, answers: []answer{{"b", 7, 900 * ms}}},
		{name: "a leader without a vote, heard by all", others: three, outside: true, answers: []answer{{"b", 7, 900 * ms}, {"c", 7, 800 * ms}}, until: 1200 * ms},
		{name: "over already", others: three, answers: []answer{{"b", 7, 500 * ms}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			l := lease{lasts: 400 * ms}
			for _, a := range tt.answers {
				l.answered(a.from, a.term, start.Add(a.sent))
			}
			asked := 0
			holds := func(at time.Duration) bool {
				return l.holds(start.Add(at), 7, func() ([]raft.ServerID, bool) { asked++; return tt.others, !tt.outside })
			}
			if got := holds(1000 * ms); got != (tt.until > 0) {
				t.Fatalf("it holds: %v", got)
			}
			if tt.until == 0 {
				return
			}
			if !holds(tt.until-ms) || asked != 1 {
				t.Errorf("just before its end: it does not hold, or was worked out %d times, want once", asked)
			}
			if tt.others != nil && holds(tt.until) {
				t.Error("at its end: it holds")
			}
			if l.holds(start.Add(1000*ms), 8, func() ([]raft.ServerID, bool) { return three, true }) {
				t.Error("in the next term: it holds")
			}
		})
	}
}

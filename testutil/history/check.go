package history

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Promises are those that depend on how servers are configured.
type Promises struct {
	// Lease is how old a default read may be: the longest time for which a deposed
	// leader may take itself for the leader. 0 means that of the default
	// configuration, 500 ms.
	Lease time.Duration
	// WakeWithin is how soon a blocked query must answer once a change of what it
	// read was acknowledged. 0: it is not checked, as under faults that keep
	// answers from coming.
	WakeWithin time.Duration
}

// defaultLease is raft's leader lease in the default configuration.
const defaultLease = 400 * time.Millisecond

// Violation is something that no correct cluster could have told its clients,
// or a question that could not be decided.
type Violation struct {
	Check string // which promise was broken
	What  string
	calls []*Call // enough to see it, not all of them

	model     *porcupine.Model // of which all is an illegal history; nil for other checks
	all       []interval
	undecided bool
}

// excerpt is how many calls a report shows at most.
const excerpt = 40

// String is a report of a few lines: the calls that show the violation, in the
// order of their begin.
func (v Violation) String() string {
	lines := []string{fmt.Sprintf("%s: %s", v.Check, v.What)}
	calls := slices.Clone(v.calls)
	slices.SortStableFunc(calls, func(a, b *Call) int { return int(a.call - b.call) })
	if n := len(calls) - excerpt; n > 0 {
		lines = append(lines, fmt.Sprintf("    (%d calls before these)", n))
		calls = calls[n:]
	}
	for _, c := range calls {
		lines = append(lines, "    "+c.String())
	}
	for _, c := range v.calls {
		if c.feed == nil {
			continue
		}
		lines = append(lines, fmt.Sprintf("  what %v was told until then:", c.feed))
		for _, e := range c.feed.before(c.ret, excerpt) {
			lines = append(lines, fmt.Sprintf("    %9s  %v", c.rec.at(e.at), e))
		}
	}
	return strings.Join(lines, "\n")
}

// WritePage writes a page for a browser that shows the history, if the
// violation has one, and returns its path.
func (v Violation) WritePage() (string, error) {
	if v.model == nil {
		return "", nil
	}
	_, info := porcupine.CheckOperationsVerbose(bounded(*v.model, budget/16, new(int)), operations(v.all), 0)
	page, err := os.CreateTemp("", "praetor-history-*.html")
	if err != nil {
		return "", err
	}
	defer page.Close()
	return page.Name(), porcupine.Visualize(*v.model, info, page)
}

// Verify holds the record against the promises and returns what breaks them.
// Calls that are still under way count as open.
func (r *Recorder) Verify(p Promises) []Violation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Lease == 0 {
		p.Lease = defaultLease
	}
	f, violations := r.learn()
	violations = append(violations, f.checkOrder()...)
	violations = append(violations, f.checkServers()...)
	violations = append(violations, f.checkClients(p.Lease)...)
	violations = append(violations, f.checkWaits(p.WakeWithin)...)
	violations = append(violations, f.checkLocks()...)
	violations = append(violations, f.checkFeeds()...)
	for _, g := range f.keyGroups() {
		violations = append(violations, g.check(p.Lease)...)
	}
	return violations
}

// Check fails the test for each broken promise, with the calls that show it.
func (r *Recorder) Check(t testing.TB, p Promises) {
	t.Helper()
	for i, v := range r.Verify(p) {
		if i == 10 {
			t.Error("and more")
			break
		}
		page, err := v.WritePage()
		switch {
		case err != nil:
			t.Errorf("%v\n(no page: %v)", v, err)
		case page != "":
			t.Errorf("%v\nthe whole history: %s", v, page)
		default:
			t.Error(v)
		}
	}
}

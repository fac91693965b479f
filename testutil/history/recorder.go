package history

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Recorder collects what clients ask and are told. It may be used by any number
// of goroutines. Its times are those of package time: virtual in a bubble.
type Recorder struct {
	mu    sync.Mutex // guards the fields below
	begun time.Time
	times []time.Time // of each event so far: the place is its number
	calls []*Call
	feeds []*Feed
}

// Call is one call of a client.
type Call struct {
	rec     *Recorder
	client  int
	op      Op
	outcome outcome
	result  Result
	call    int64 // number of the event that began it
	ret     int64 // and of the one that ended it
	feed    *Feed // that led to it, if the call is what a follower believes
}

type outcome int

const (
	open   outcome = iota // nobody knows, or not yet
	done                  // result says
	failed                // it did nothing
)

// never is the end of a call that is open: behind everything.
const never = math.MaxInt64

// tick numbers an event. Events get their numbers in an order that the clients
// cannot tell from the real one: a call that ended before another began has the
// lower one, also where the clock has not moved in between.
func (r *Recorder) tick() int64 {
	now := time.Now()
	if len(r.times) == 0 {
		r.begun = now
	}
	r.times = append(r.times, now)
	return int64(len(r.times) - 1)
}

// Begin records that a client is about to make a call. The call is open until
// the client says how it ended.
func (r *Recorder) Begin(client int, op Op) *Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Call{rec: r, client: client, op: op, call: r.tick(), ret: never}
	r.calls = append(r.calls, c)
	return c
}

// Done records what the client was told.
func (c *Call) Done(result Result) { c.end(done, result) }

// Unknown records that the client gave up without knowing what became of the
// call. It stays open.
func (c *Call) Unknown() { c.end(open, Result{}) }

// Failed records that the call certainly did nothing. It is left out of the
// history; but whoever sees what it would have written has found a bug.
func (c *Call) Failed() { c.end(failed, Result{}) }

// From records which process of its server answered the call.
func (c *Call) From(life uint64) {
	c.rec.mu.Lock()
	defer c.rec.mu.Unlock()
	c.op.Life = life
}

func (c *Call) end(how outcome, result Result) {
	c.rec.mu.Lock()
	defer c.rec.mu.Unlock()
	c.outcome, c.result = how, result
	if how == done {
		c.ret = c.rec.tick()
	}
}

// Calls is how many calls there are, and how many of them are open and failed.
func (r *Recorder) Calls() (all, opened, refused int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		switch c.outcome {
		case open:
			opened++
		case failed:
			refused++
		}
	}
	return len(r.calls), opened, refused
}

// String is the call as people read it.
func (c *Call) String() string {
	text := fmt.Sprintf("%9s ", c.rec.at(c.call))
	switch {
	case c.outcome == failed:
		text += "  (failed)"
	case c.ret == never:
		text += "   (open)"
	default:
		text += fmt.Sprintf("%9s", c.rec.at(c.ret))
	}
	text += fmt.Sprintf("  client %d at %s: %s", c.client, c.op.Server, c.op.String())
	if c.outcome != done {
		return text
	}
	switch c.op.Kind {
	case Get, List:
		text += fmt.Sprintf(" -> %s, index %d", show(c.result.Entries), c.result.Index)
	case Txn:
		text += fmt.Sprintf(" -> %v %s", c.result.OK, show(c.result.Entries))
	case CAS, DeleteCAS, Acquire, Release, FencedPut, Renew:
		text += fmt.Sprintf(" -> %v", c.result.OK)
	}
	if c.result.NoSession {
		text += " (no such session)"
	}
	return text
}

// at is the time of an event since the first.
func (r *Recorder) at(event int64) string {
	if event < 0 || event >= int64(len(r.times)) {
		return "-"
	}
	return fmt.Sprintf("%.4fs", r.times[event].Sub(r.begun).Seconds())
}

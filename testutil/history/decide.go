package history

import (
	"slices"

	"github.com/anishathalye/porcupine"
)

// budget is how many steps of a model one question may cost. It is not a time,
// so that the answer is the same on every machine and in virtual time. A
// million steps are a second or two; a history of the workload's size needs
// some hundreds.
const budget = 1 << 20

type verdict int

const (
	legal     verdict = iota
	illegal           // no order of the calls explains what was told
	undecided         // the budget was not enough
)

// interval is a call with the events between which it took effect.
type interval struct {
	*Call
	from, to int64
}

func strict(c *Call) interval { return interval{c, c.call, c.ret} }

func operations(calls []interval) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(calls))
	for i, c := range calls {
		ops[i] = porcupine.Operation{ClientId: c.client, Input: c.Call, Output: c.Call, Call: c.from, Return: c.to}
	}
	return ops
}

// decide asks whether there is an order of the calls that the model allows.
func decide(model porcupine.Model, calls []interval) verdict {
	steps := 0
	ok := porcupine.CheckOperations(bounded(model, budget, &steps), operations(calls))
	switch {
	case ok:
		return legal
	case steps > budget:
		return undecided
	}
	return illegal
}

// bounded is a model that allows nothing more once it was asked so many times.
func bounded(model porcupine.Model, most int, steps *int) porcupine.Model {
	step := model.Step
	model.Step = func(state, input, output any) (bool, any) {
		if *steps++; *steps > most {
			return false, state
		}
		return step(state, input, output)
	}
	return model
}

// shrink returns a part of an illegal history that is illegal for the same
// reason: the shortest beginning of it, without what is not needed.
func shrink(model porcupine.Model, calls []interval) []interval {
	bad := func(calls []interval) bool { return decide(model, calls) == illegal }
	ends := make([]int64, 0, len(calls))
	for _, c := range calls {
		if c.to != never {
			ends = append(ends, c.to)
		}
	}
	slices.Sort(ends)
	// Every beginning of a linearizable history is linearizable.
	low, high := 0, len(ends)-1
	for low < high {
		if mid := (low + high) / 2; bad(until(calls, ends[mid])) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if len(ends) > 0 {
		if first := until(calls, ends[low]); bad(first) {
			calls = first
		}
	}
	without := func(may func(*Call) bool) {
		for i := 0; i < len(calls) && len(calls) < 400; {
			rest := slices.Delete(slices.Clone(calls), i, i+1)
			if may(calls[i].Call) && bad(rest) {
				calls = rest
			} else {
				i++
			}
		}
	}
	nothing := func(c *Call) bool { return c.op.reads() || c.outcome == done && c.conditional() && !c.result.OK }
	without(nothing)
	// What is left out of the writes may be missed only by those who were told of it.
	if !slices.ContainsFunc(calls, func(c interval) bool { return nothing(c.Call) && c.conditional() }) {
		shown := map[named]bool{}
		for _, c := range calls {
			for _, e := range c.result.Entries {
				shown[named{e.Key, e.Value}] = true
			}
		}
		without(func(c *Call) bool {
			unseen := c.op.Kind == Put
			for n := range c.op.written {
				unseen = unseen && !shown[n]
			}
			return unseen
		})
	}
	return calls
}

// conditional reports whether the call may be refused.
func (c *Call) conditional() bool {
	switch c.op.Kind {
	case CAS, DeleteCAS, Txn, Acquire, Release, FencedPut:
		return true
	}
	return false
}

// until is the beginning of a history up to an event. What was not over then is open.
func until(calls []interval, event int64) []interval {
	var begun []interval
	for _, c := range calls {
		switch {
		case c.from > event:
			continue
		case c.to > event && c.op.reads():
			continue
		case c.to > event:
			unsure := *c.Call
			unsure.outcome, unsure.result = open, Result{}
			c = interval{&unsure, c.from, never}
		}
		begun = append(begun, c)
	}
	return begun
}

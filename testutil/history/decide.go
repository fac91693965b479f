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

// decide asks whether there is an order of the calls that the model allows, in
// at most so many steps, and how many it took.
func decide(model porcupine.Model, calls []interval, most int) (verdict, int) {
	steps := 0
	ask := func(calls []interval) bool {
		return porcupine.CheckOperations(bounded(model, most, &steps), operations(calls))
	}
	// Open calls whose effect nobody has seen need not have had one, and they are what makes a search long.
	certain := slices.DeleteFunc(slices.Clone(calls), func(c interval) bool { return c.outcome == open && c.to == never })
	ok := ask(certain)
	if !ok && len(certain) < len(calls) && steps <= most && mayMatter(calls) {
		ok = ask(calls)
	}
	switch {
	case ok:
		return legal, steps
	case steps > most:
		return undecided, steps
	}
	return illegal, steps
}

// mayMatter reports whether open calls without visible effect may explain
// something: what they set was gone before anybody read it, so that is for those
// that delete, and for calls that were refused.
func mayMatter(calls []interval) bool {
	return slices.ContainsFunc(calls, func(c interval) bool {
		unseen := c.outcome == open && c.to == never
		return unseen && c.op.Kind != Put || c.outcome == done && c.conditional() && !c.result.OK
	})
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
// reason: the shortest beginning of it, without what is not needed, as far as
// that is found with little effort.
func shrink(model porcupine.Model, calls []interval) []interval {
	left := budget
	bad := func(calls []interval) bool {
		verdict, steps := decide(model, calls, min(left, budget/32))
		left -= min(left, steps)
		return verdict == illegal
	}
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
	// Large parts first: most of a history has nothing to do with what is wrong in it.
	without := func(may func(*Call) bool) {
		for size := (len(calls) + 1) / 2; size > 0; size /= 2 {
			for i := 0; i < len(calls); {
				part := calls[i:min(i+size, len(calls))]
				kept := slices.DeleteFunc(slices.Clone(part), func(c interval) bool { return may(c.Call) })
				rest := slices.Concat(calls[:i], kept, calls[i+len(part):])
				if len(kept) < len(part) && bad(rest) {
					calls, part = rest, kept
				}
				i += len(part)
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

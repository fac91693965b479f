package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// lockState is what a lock is, with what it guards. A session may end at any
// time, since its TTL may be over; then its lock is lost. What makes that a
// check is that nothing of a session happens after its end, and nothing under
// the fence of a lock that was lost.
type lockState struct {
	holder  string // session; "" while nobody holds the lock
	fence   uint64 // LockIndex: how often the lock was taken
	data    string // value of the key that it guards; "" while there is none
	ended   string // sessions that are no more, each behind a space
	delayed bool   // some session has lost it, so there may be a lock delay
}

// String is the state as people read it.
func (s lockState) String() string {
	return fmt.Sprintf("held by %q under %d, data %q, ended%s", s.holder, s.fence, s.data, s.ended)
}

func (s lockState) hasEnded(session string) bool { return strings.Contains(s.ended, " "+session) }

// end is the state once a session is no more.
func (s lockState) end(session string) lockState {
	if s.hasEnded(session) {
		return s
	}
	all := append(strings.Fields(s.ended), session)
	slices.Sort(all)
	s.ended = " " + strings.Join(all, " ")
	if s.holder == session {
		s.holder, s.delayed = "", true
	}
	return s
}

// take is the state once a session has the lock, and whether it can have it.
func (s lockState) take(session string) (lockState, bool) {
	switch {
	case s.hasEnded(session):
		return s, false
	case s.holder == "":
		s.holder, s.fence = session, s.fence+1
	case s.holder != session:
		return s, false
	}
	return s, true
}

// lockModel is one lock. Where a call is open, several states may follow.
func (f *facts) lockModel(key string) porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{lockState{}} },
		Step: func(state, input, _ any) (next []any) {
			before, c := state.(lockState), input.(*Call)
			for _, s := range f.stepLock(before, key, c) {
				next = append(next, s)
			}
			if before.holder != "" { // the holder's session may end first
				for _, s := range f.stepLock(before.end(before.holder), key, c) {
					next = append(next, s)
				}
			}
			return next
		},
		Hash: func(state any) uint64 {
			return state.(lockState).fence
		},
		DescribeOperation: func(input, _ any) string { return input.(*Call).String() },
		DescribeState:     func(state any) string { return state.(lockState).String() },
	}
	return model.ToModel()
}

// stepLock returns what a call may make of a lock; nothing if it cannot have
// been told there what it was told.
func (f *facts) stepLock(s lockState, key string, c *Call) []lockState {
	op, told, sure := &c.op, &c.result, c.outcome == done
	only := func(next lockState, may bool) []lockState {
		switch {
		case may:
			return []lockState{next}
		case !sure: // then it did nothing
			return []lockState{s}
		}
		return nil
	}
	switch op.Kind {
	case Acquire:
		taken, may := s.take(op.Session)
		switch {
		case told.NoSession:
			return only(s.end(op.Session), s.holder != op.Session)
		case sure && !told.OK:
			return only(s, s.delayed || s.holder != "" && s.holder != op.Session)
		case sure || !s.delayed:
			return only(taken, may)
		}
		return append(only(taken, may), s) // a lock delay may have kept it out
	case Release:
		free := s
		free.holder = ""
		if sure && !told.OK {
			return only(s, s.holder != op.Session)
		}
		return only(free, s.holder == op.Session)
	case FencedPut:
		written := s
		written.data = op.Value
		passes := s.holder != "" && s.fence == op.LockIndex
		if sure && !told.OK {
			return only(s, !passes)
		}
		return only(written, passes)
	case Get:
		return only(s, s.shows(key, op.Key, told.Entries))
	case Renew:
		return only(s, !s.hasEnded(op.Session))
	case Destroy:
		return only(s.end(op.Session), true)
	case Restore:
		return only(restored(key, f.guarded(key), op.Entries), true)
	}
	return nil
}

// shows reports whether a read of the lock, or of what it guards, finds this.
func (s lockState) shows(lock, key string, entries []Entry) bool {
	switch {
	case len(entries) == 0 && key == lock:
		return s.fence == 0
	case len(entries) == 0:
		return s.data == ""
	case key == lock:
		return entries[0].Session == s.holder && entries[0].LockIndex == s.fence
	}
	return entries[0].Value == s.data
}

// restored is the lock as a snapshot has it.
func restored(lock, data string, entries []Entry) (s lockState) {
	for _, e := range entries {
		switch e.Key {
		case lock:
			s.holder, s.fence, s.delayed = e.Session, e.LockIndex, true
		case data:
			s.data = e.Value
		}
	}
	return s
}

// guarded is the key that a lock guards, "" if nobody has written under it.
func (f *facts) guarded(lock string) string {
	for key, of := range f.locks {
		if of == lock && key != lock {
			return key
		}
	}
	return ""
}

// checkLocks looks for an order of the calls about each lock.
func (f *facts) checkLocks() (violations []Violation) {
	byLock, sessions := map[string][]interval{}, map[string]map[string]bool{}
	for _, lock := range slices.Sorted(maps.Values(f.locks)) {
		sessions[lock] = map[string]bool{}
	}
	for _, c := range f.calls {
		if c.op.Kind == Acquire || c.op.Kind == Release {
			sessions[c.op.Key][c.op.Session] = true
		}
	}
	for _, c := range f.calls {
		for lock, used := range sessions {
			var about bool
			switch c.op.Kind {
			case Acquire, Release, FencedPut:
				about = c.op.Key == lock
			case Get:
				about = f.locks[c.op.Key] == lock && c.op.Read == Consistent && c.outcome == done
			case Destroy:
				about = used[c.op.Session]
			case Renew:
				about = used[c.op.Session] && c.outcome == done && c.result.OK
			case Restore:
				about = true
			}
			if about {
				byLock[lock] = append(byLock[lock], strict(c))
			}
		}
	}
	for _, lock := range slices.Sorted(maps.Keys(byLock)) {
		if v := f.ask("locks", f.lockModel(lock), byLock[lock]); v != nil {
			violations = append(violations, *v)
		}
	}
	return violations
}

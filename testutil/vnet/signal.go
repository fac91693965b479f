package vnet

import "time"

// signal wakes everyone who waits for a change, like sync.Cond but with a
// channel, so that a waiter can wait for other things too. The network's lock
// guards it.
type signal struct{ ch chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) raise() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// sleep releases the network's lock until s is raised, done is closed, or
// until has come; the zero time never comes, and done may be nil.
func (n *Network) sleep(s *signal, done <-chan struct{}, until time.Time) {
	wake := s.wait()
	n.mu.Unlock()
	defer n.mu.Lock()
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-wake:
	case <-done:
	case <-alarm:
	}
}

// earliest returns the first of some times, where zero means never.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// passed reports whether t has come.
func passed(t, now time.Time) bool {
	return !t.IsZero() && !t.After(now)
}

package workload

import (
	"fmt"
	"sync"
)

// slots are the registers, groups or locks that are in use.
type slots struct {
	kind     string // stands at the front of the names
	ops, bad int    // most calls, and most with unclear outcome, of one name
	mu       sync.Mutex
	all      []slot // guarded by mu
}

// slot is a name that is used until it is worn out, then another.
type slot struct {
	generation, ops, open int
}

func newSlots(kind string, c *Config) *slots {
	return &slots{kind: kind, ops: c.MaxOps, bad: c.MaxOpen, all: make([]slot, c.Slots)}
}

// use counts a call and returns the name to use.
func (s *slots) use(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &s.all[i]
	if at.ops >= s.ops || at.open >= s.bad {
		*at = slot{generation: at.generation + 1}
	}
	at.ops++
	return fmt.Sprintf("%s%d.%d", s.kind, i, at.generation)
}

// unclear counts a call whose outcome nobody knows.
func (s *slots) unclear(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[i].open++
}

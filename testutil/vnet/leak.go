package vnet

import (
	"slices"
	"testing"
	"time"
)

// aftermath is how long MustBeClosed waits: longer than memberlist's and
// raft's timeouts.
const aftermath = time.Minute

// Open counts the conns (each end for itself), listeners and gossip ports
// that nobody has closed.
func (n *Network) Open() int {
	return len(n.Sockets())
}

// Sockets describes what Open counts, one line each, sorted.
func (n *Network) Sockets() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var open []string
	for c := range n.conns {
		open = append(open, "conn "+c.local.String()+" -> "+c.remote.String())
	}
	for addr := range n.listeners {
		open = append(open, "listener "+addr)
	}
	for addr := range n.packets {
		open = append(open, "gossip "+addr)
	}
	slices.Sort(open)
	return open
}

// MustBeClosed fails the test if something stays open. It heals the network
// and then lets time pass, for closes that are on their way and for goroutines
// that outlive a Shutdown, as memberlist's probes do: a bubble's clock stops
// when its test function and cleanups have returned, and who still waits for
// a timer then counts as deadlocked. So it is for bubbles, as the first
// cleanup to register and the last to run.
func (n *Network) MustBeClosed(t testing.TB) {
	t.Helper()
	n.Heal()
	time.Sleep(aftermath)
	if open := n.Sockets(); len(open) > 0 {
		t.Errorf("left open: %q", open)
	}
}

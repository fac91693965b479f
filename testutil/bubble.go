package testutil

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// bubble is held by the one test that runs inside Bubble.
var bubble sync.Mutex

// Bubble is synctest.Test for code that uses yamux, one test at a time. Yamux
// v0.1.2 keeps used timers in a sync.Pool, where the next bubble finds them,
// and touching another bubble's timer ends the process ("select on synctest
// channel from outside bubble"). Two collections empty every pool.
//
// Call t.Parallel before it, so that tests without yamux go on meanwhile.
// Tests that use yamux in real time belong in another package.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	bubble.Lock()
	defer bubble.Unlock()
	emptyPools()
	defer emptyPools()
	synctest.Test(t, f)
}

func emptyPools() {
	runtime.GC()
	runtime.GC()
}

package agent

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{{0, 6400}, {1 << 20, 6400}, {32 << 20, 200}, {64 << 20, 100}, {1 << 30, 100}} {
		if got := gcPercent(tt.live); got != tt.want {
			t.Errorf("with %d bytes in use: %d %%, want %d %%", tt.live, got, tt.want)
		}
	}
}

// The percentage follows the heap, also when it has grown and shrunk again.
func TestCollectorFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	seen := make(chan struct{}, 1)
	afterCollection(func() {
		setPercent()
		select {
		case seen <- struct{}{}:
		default:
		}
	})
	for _, bytes := range []int{200 << 20, 1 << 20} {
		held := make([]byte, bytes)
		percent := 0
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			runtime.GC()
			<-seen
			percent = debug.SetGCPercent(100)
			debug.SetGCPercent(percent)
			if (percent == 100) == (bytes > leastGarbage) {
				break
			}
		}
		runtime.KeepAlive(held)
		if (percent == 100) != (bytes > leastGarbage) {
			t.Errorf("with %d bytes in use: %d %%", bytes, percent)
		}
	}
}

// Memory is given back once for each time that something has left it behind.
func TestRest(t *testing.T) {
	const mb = 1 << 20
	var r rest
	const long = int(restLasts / restEvery)
	for i, tt := range []struct {
		ticks int
		now   use
		want  int // the tick at which it is given back; 0 for none
	}{
		{1, use{10 * mb, 5 * mb, 10}, 0},              // still at work
		{2 * long, use{10 * mb, 5 * mb, 10}, 0},       // at rest, with nothing to give
		{1, use{200 * mb, 100 * mb, 10}, 0},           // at work
		{long - 1, use{200 * mb, 100 * mb, 10}, 0},    // at rest, not for long
		{1, use{300 * mb, 100 * mb, 10}, 0},           // at work again
		{2 * long, use{300 * mb, 100 * mb, 10}, long}, // at rest, for long
		{2 * long, use{300 * mb, 100 * mb, 10}, 0},    // once
		{1, use{320 * mb, 100 * mb, 5000}, 0},         // at work
		{2 * long, use{320 * mb, 100 * mb, 5000}, 0},  // at rest, but they are still there
		{1, use{320 * mb, 100 * mb, 4000}, 1},         // a thousand less
		{2 * long, use{320 * mb, 100 * mb, 3500}, 0},
		{1, use{320 * mb, 100 * mb, 3000}, 1},
	} {
		got := 0
		for tick := 1; tick <= tt.ticks; tick++ {
			if r.gaveUp(tt.now) {
				r.last = tt.now
				got = tick
			}
		}
		if got != tt.want {
			t.Errorf("%d: %+v: at tick %v, want %v", i, tt.now, got, tt.want)
		}
	}
}

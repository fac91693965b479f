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

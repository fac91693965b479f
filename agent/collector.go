package agent

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// leastGarbage is how many bytes of garbage may pile up, at least, before the
// garbage collector runs. Go's own rule is as much as is in use, which on a
// server with a small state is a collection every few thousand requests: a fifth
// of the instructions of a PUT, a tenth of those of a GET (docs/performance.md).
const leastGarbage = 64 << 20

// TuneCollector makes the garbage collector of this process run less often while
// the heap is small, and gives memory back to the system when the process comes
// to rest, until ctx ends. It is for the process of a server; GOGC in the
// environment goes before it, and a memory limit (GOMEMLIMIT) is obeyed as ever.
func TuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	afterCollection(setPercent)
	go giveBack(ctx)
}

// afterCollection calls f now and after each collection.
func afterCollection(f func()) {
	f()
	runtime.SetFinalizer(new(*byte), func(**byte) { afterCollection(f) })
}

func setPercent() {
	live := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(live)
	debug.SetGCPercent(gcPercent(live[0].Value.Uint64()))
}

// gcPercent is GOGC for a heap with so many bytes in use.
func gcPercent(live uint64) int {
	const unit = 1 << 20 // so that a heap of a few kB does not give millions
	return max(100, int(100*leastGarbage/max(live, unit)))
}

const (
	restEvery      = 200 * time.Millisecond
	restAllocation = 1 << 20 // bytes allocated in that time that are rest
	restGoroutines = 1000    // that have ended and leave their stacks behind
	restLasts      = 10 * time.Second
)

// giveBack collects and returns to the system what is not in use: at once when
// the process is at rest and has lost many goroutines, and when it has been at
// rest for a while since it allocated. Left alone, a process that has loaded its
// state keeps twice of it for minutes, and one whose 10,000 watchers have gone
// keeps their stacks. But whoever is busy again after a second would have to find
// the same memory anew, which on a virtual machine can cost more than its work.
func giveBack(ctx context.Context) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	var r rest
	for {
		select {
		case <-tick.C:
			if r.gaveUp(readUse()) {
				debug.FreeOSMemory()
				r.last = readUse()
			}
		case <-ctx.Done():
			return
		}
	}
}

// use is what the process has used.
type use struct {
	allocated  uint64 // bytes since it started
	live       uint64 // bytes that the last collection has left
	goroutines uint64
}

func readUse() use {
	s := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	runtimemetrics.Read(s)
	return use{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64()}
}

// rest finds out when the process has come to rest with memory to give back.
type rest struct {
	before use    // one tick ago
	last   use    // after memory was given back last
	most   uint64 // goroutines since then
	ticks  int    // of rest, without an end
}

func (r *rest) gaveUp(now use) bool {
	atRest := now.allocated-r.before.allocated < restAllocation
	r.before = now
	r.most = max(r.most, now.goroutines)
	if !atRest {
		r.ticks = 0
		return false
	}
	r.ticks++
	garbage := now.allocated-r.last.allocated >= max(leastGarbage/2, now.live/4)
	if !(garbage && r.ticks >= int(restLasts/restEvery)) && r.most < now.goroutines+restGoroutines {
		return false
	}
	r.most = now.goroutines
	return true
}

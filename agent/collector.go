package agent

import (
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
)

// leastGarbage is how many bytes of garbage may pile up, at least, before the
// garbage collector runs. Go's own rule is as much as is in use, which on a
// server with a small state is a collection every few thousand requests: a fifth
// of the instructions of a PUT, a tenth of those of a GET (docs/performance.md).
const leastGarbage = 64 << 20

// TuneCollector makes the garbage collector of this process run less often while
// the heap is small. It is for the process of a server; GOGC in the environment
// goes before it, and a memory limit (GOMEMLIMIT) is obeyed as ever.
func TuneCollector() {
	if os.Getenv("GOGC") == "" {
		afterCollection(setPercent)
	}
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

package bench

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"praetor/structs"
)

// What the benches write, unless they say otherwise.
const (
	Callers  = 64
	Keys     = 10_000
	ValueLen = 256 // bytes
)

// Value is what is written. Nobody may change it.
var Value = make([]byte, ValueLen)

// KeyName is one of the Keys names.
func KeyName(i int) string { return fmt.Sprintf("bench/key-%06d", i%Keys) }

// Put is the command that writes the key of a number; its flags differ from call to call, so that no write is a
// repetition of the one before.
func Put(i int) *structs.KVSRequest {
	return &structs.KVSRequest{Datacenter: "dc1", Op: structs.KVSet, DirEnt: structs.DirEntry{Key: KeyName(i), Value: Value, Flags: uint64(i)}}
}

// Op is one operation, run by many callers at once; i differs from call to call.
type Op func(caller, i int) error

// Result is what a run of many operations came to.
type Result struct {
	PerSecond float64
	Own, Peer time.Duration // CPU per operation: this process, the servers
}

// Run lets callers work for a while and counts what was done, and what CPU this process and the servers used.
func Run(tb testing.TB, callers int, op Op, long time.Duration, servers ...int) Result {
	tb.Helper()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	stop := make(chan struct{})
	own, peer, start := CPU(tb, os.Getpid()), CPU(tb, servers...), time.Now()
	for caller := range callers {
		wait.Go(func() {
			for i := caller; ; i += callers {
				select {
				case <-stop:
					return
				default:
				}
				if err := op(caller, i); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	time.Sleep(long)
	close(stop)
	n, took := done.Load(), time.Since(start)
	own, peer = CPU(tb, os.Getpid())-own, CPU(tb, servers...)-peer
	wait.Wait()
	if err := failed.Load(); err != nil {
		tb.Fatal(*err)
	}
	n = max(n, 1)
	return Result{float64(n) / took.Seconds(), own / time.Duration(n), peer / time.Duration(n)}
}

// Each does an operation once for each number below n, with many callers at once.
func Each(tb testing.TB, callers, n int, op func(i int) error) {
	tb.Helper()
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			for i := caller; i < n && failed.Load() == nil; i += callers {
				if err := op(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		tb.Fatal(*err)
	}
}

// CPU is the CPU time, user and system, that processes have used.
func CPU(tb testing.TB, pids ...int) (sum time.Duration) {
	tb.Helper()
	for _, pid := range pids {
		sum += cpuOf(tb, pid)
	}
	return sum
}

func cpuOf(tb testing.TB, pid int) time.Duration {
	if pid == os.Getpid() { // finer than what /proc tells
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			tb.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	// pid (name) state ppid ...: user and system time are fields 14 and 15, in 1/100 s.
	var skip string
	var user, system int64
	fields := text[slices.Index(text, ')')+2:]
	if _, err := fmt.Sscan(string(fields), &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// Median is the middle one of some figures, of which there must be one at least.
func Median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

// MedianResult is the median of each figure by itself.
func MedianResult(of []Result) Result {
	middle := func(pick func(Result) float64) float64 {
		var all []float64
		for _, r := range of {
			all = append(all, pick(r))
		}
		return Median(all)
	}
	return Result{
		middle(func(r Result) float64 { return r.PerSecond }),
		time.Duration(middle(func(r Result) float64 { return float64(r.Own) })),
		time.Duration(middle(func(r Result) float64 { return float64(r.Peer) })),
	}
}

// Micros is a time in microseconds.
func Micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

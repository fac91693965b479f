package bench_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	callers  = 64
	keys     = 10_000
	valueLen = 256
	rounds   = 3
	warmUp   = 500 * time.Millisecond
	runTime  = 2 * time.Second
)

var value = make([]byte, valueLen)

func keyName(i int) string { return fmt.Sprintf("bench/key-%06d", i%keys) }

// measure is one row of the table.
type measure struct {
	name string
	// setup returns the operation, to be run by many callers at once with the
	// number of the call, and the process whose CPU counts beside ours (0: none).
	setup func(b *testing.B) (op func(caller, i int) error, pid int)
}

var measures = []measure{
	{"(a) raft, raft-boltdb, empty FSM, in process", setupFloor},
	{"(b) the same with our FSM", setupFSM},
	{"(c) KV.Apply, Go client, one connection", setupRPCPut},
	{"(c) KV.Get, Go client, one connection", setupRPCGet},
	{"(d) HTTP PUT", setupHTTPPut},
	{"(e) HTTP GET, default", setupHTTPGet("")},
	{"(e) HTTP GET, stale", setupHTTPGet("?stale")},
	{"(e) HTTP GET, consistent", setupHTTPGet("?consistent")},
	{"(f) Txn.Apply of 64 puts, Go client", setupTxn},
}

type result struct {
	perSecond float64
	own, peer time.Duration // CPU per operation: this process, the server's
}

// BenchmarkTable runs all measures in turn, several times, and prints medians.
func BenchmarkTable(b *testing.B) {
	type prepared struct {
		op  func(caller, i int) error
		pid int
	}
	ops := make([]prepared, len(measures))
	for i, m := range measures {
		ops[i].op, ops[i].pid = m.setup(b)
	}
	results := make([][]result, len(measures))
	for b.Loop() {
		for range rounds {
			for i := range measures {
				run(b, ops[i].op, ops[i].pid, warmUp)
				results[i] = append(results[i], run(b, ops[i].op, ops[i].pid, runTime))
			}
		}
	}
	printTable(results)
}

// run lets all callers work for a while and counts.
func run(b *testing.B, op func(caller, i int) error, pid int, long time.Duration) result {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	stop := make(chan struct{})
	own, peer, start := cpuOf(b, os.Getpid()), cpuOf(b, pid), time.Now()
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
	own, peer = cpuOf(b, os.Getpid())-own, cpuOf(b, pid)-peer
	wait.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	n = max(n, 1)
	return result{float64(n) / took.Seconds(), own / time.Duration(n), peer / time.Duration(n)}
}

// cpuOf is the CPU time, user and system, that a process has used.
func cpuOf(b *testing.B, pid int) time.Duration {
	switch pid {
	case 0:
		return 0
	case os.Getpid():
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// pid (name) state ppid ...: user and system time are fields 14 and 15, in 1/100 s.
	var skip string
	var user, system int64
	fields := text[slices.Index(text, ')')+2:]
	if _, err := fmt.Sscan(string(fields), &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// printTable prints medians, as Markdown, each beside the floor of the same run.
func printTable(results [][]result) {
	median := func(of []result, pick func(result) float64) float64 {
		values := make([]float64, len(of))
		for i, r := range of {
			values[i] = pick(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	rate := func(r result) float64 { return r.perSecond }
	floor := median(results[0], rate)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "\n| measure\t| ops/s\t| of the floor\t| CPU µs/op, this process\t| CPU µs/op, server\t|")
	fmt.Fprintln(w, "|---\t|---:\t|---:\t|---:\t|---:\t|")
	for i, m := range measures {
		own := median(results[i], func(r result) float64 { return float64(r.own.Nanoseconds()) / 1000 })
		peer := median(results[i], func(r result) float64 { return float64(r.peer.Nanoseconds()) / 1000 })
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.0f %%\t| %.1f\t| %.1f\t|\n", m.name, median(results[i], rate), 100*median(results[i], rate)/floor, own, peer)
	}
	w.Flush()
}

package bench_test

import (
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"praetor/testutil/bench"
)

const (
	rounds  = 3
	warmUp  = 500 * time.Millisecond
	runTime = 2 * time.Second
)

// measure is one row of the table.
type measure struct {
	name string
	// setup returns the operation, to be run by many callers at once with the
	// number of the call, and the processes whose CPU counts beside ours.
	setup func(b *testing.B) (op bench.Op, servers []int)
}

var measures = []measure{
	{"(a) raft, raft-wal, empty FSM, in process", setupFloor},
	{"(b) the same with our FSM", setupFSM},
	{"(c) KV.Apply, Go client, one connection", setupRPCPut},
	{"(c) KV.Get, Go client, one connection", setupRPCGet},
	{"(d) HTTP PUT", setupHTTPPut},
	{"(e) HTTP GET, default", setupHTTPGet("")},
	{"(e) HTTP GET, stale", setupHTTPGet("?stale")},
	{"(e) HTTP GET, consistent", setupHTTPGet("?consistent")},
	{"(f) Txn.Apply of 64 puts, Go client", setupTxn},
}

// BenchmarkTable runs all measures in turn, several times, and prints medians.
func BenchmarkTable(b *testing.B) {
	type prepared struct {
		op      bench.Op
		servers []int
	}
	ops := make([]prepared, len(measures))
	for i, m := range measures {
		ops[i].op, ops[i].servers = m.setup(b)
	}
	results := make([][]bench.Result, len(measures))
	for b.Loop() {
		for range rounds {
			for i, o := range ops {
				bench.Run(b, bench.Callers, o.op, warmUp, o.servers...)
				results[i] = append(results[i], bench.Run(b, bench.Callers, o.op, runTime, o.servers...))
			}
		}
	}
	printTable(results)
}

// printTable prints medians, as Markdown, each beside the floor of the same run.
func printTable(results [][]bench.Result) {
	floor := bench.MedianResult(results[0]).PerSecond
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "\n| measure\t| ops/s\t| of the floor\t| CPU µs/op, this process\t| CPU µs/op, server\t|")
	fmt.Fprintln(w, "|---\t|---:\t|---:\t|---:\t|---:\t|")
	for i, m := range measures {
		r := bench.MedianResult(results[i])
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.0f %%\t| %.1f\t| %.1f\t|\n", m.name, r.PerSecond, 100*r.PerSecond/floor, bench.Micros(r.Own), bench.Micros(r.Peer))
	}
	w.Flush()
}

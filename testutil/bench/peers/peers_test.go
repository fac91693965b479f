package peers

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

type row struct {
	name string // that ROWS knows
	run  func(*stage)
}

// rows run one after the other; what a row compares takes turns.
var rows = []row{
	{"put", rowPut},
	{"get", rowGet},
	{"apply", rowApply},
	{"kvget", rowKVGet},
	{"latency", rowLatency},
	{"put3", rowPut3},
	{"get3", rowGet3("GET default", "")},
	{"consistent3", rowGet3("GET consistent", "?consistent")},
	{"stale3", rowGet3("GET stale, beside serializable", "?stale", clientv3.WithSerializable())},
	{"kill", rowKill},
	{"term", rowTerm},
	{"fresh", rowFresh},
	{"waiters", rowWaiters},
	{"memory", rowMemory},
	{"start", rowStart},
	{"growth", rowGrowth},
}

// BenchmarkPeers runs the rows and prints the table.
func BenchmarkPeers(b *testing.B) {
	chosen := rows
	if only := os.Getenv("ROWS"); only != "" {
		chosen = nil
		for name := range strings.SplitSeq(only, ",") {
			i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
			if i < 0 {
				b.Fatalf("ROWS: there is no row %q", name)
			}
			chosen = append(chosen, rows[i])
		}
	}
	version, err := exec.Command(etcdBinary(), "--version").Output()
	if err != nil {
		b.Fatalf("no etcd to measure beside: %v", err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	for b.Loop() {
		s, start := newStage(b), time.Now()
		// Also if a row fails: what those before it measured took minutes.
		defer func() {
			fmt.Printf("\nMeasured %s on %d cores, %s, %s, in %.0f s; %d rounds\n", time.Now().Format(time.DateOnly), runtime.NumCPU(),
				runtime.Version(), strings.Replace(first, " Version:", "", 1), time.Since(start).Seconds(), s.rounds)
			s.print(os.Stdout)
		}()
		for _, r := range chosen {
			s.row = r.name
			begun := time.Now()
			r.run(s)
			fmt.Fprintf(os.Stderr, "%s: %.0f s\n", r.name, time.Since(begun).Seconds())
		}
	}
}

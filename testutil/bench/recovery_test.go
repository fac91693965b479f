package bench_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/raft"

	"praetor/fsm/archive"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/bench"
)

// What it costs to save, verify and restore a large state, beside what nobody
// can do without: to compress its bytes, and to decode them.

const (
	recoveryWriters = 16
	recoveryWrites  = 15 * time.Second // how long writes are timed, without a save and with
)

// recoveryKeys is PRAETOR_BENCH_KEYS, 1,000,000 unless that is set.
func recoveryKeys(b *testing.B) int {
	b.Helper()
	text := os.Getenv("PRAETOR_BENCH_KEYS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("PRAETOR_BENCH_KEYS is %q, not a number of keys", text)
	}
	return n
}

// BenchmarkRecovery goes once through the life of a snapshot with a server that
// is a process of its own.
func BenchmarkRecovery(b *testing.B) {
	dir := b.TempDir()
	snap := filepath.Join(dir, "keys.snap")
	keys := recoveryKeys(b)
	for b.Loop() {
		t := &recoveryTable{w: tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)}
		stream := bench.KeyStream(b, keys)
		var zipped byteCount
		zip := t.floor(b, "floor: gzip of the same bytes", func() error {
			zipped = 0
			z, err := gzip.NewWriterLevel(&zipped, gzip.BestSpeed) // Go's own
			if err != nil {
				return err
			}
			if _, err := z.Write(stream); err != nil {
				return err
			}
			return z.Close()
		})
		decode := t.floor(b, "floor: decoding the same stream into throwaway values", func() error { return bench.DecodeStream(stream) })
		writeArchive(b, snap, stream)
		length := len(stream)
		stream = nil

		p := testutil.NewProcess(b, "-bootstrap", "-log-level=warn")
		p.Start()
		p.AwaitLeader()
		t.phase(b, p, "restore, PUT /v1/snapshot", decode, "3", func() error { return restoreSnapshot(p, snap) })
		p.Kill()
		start := time.Now()
		p.Start()
		p.AwaitLeader()
		t.add(recoveryRow{name: "start-up after kill -9, until a read is answered", took: time.Since(start), cpu: bench.CPU(b, p.PID()), floor: decode, aim: "3", peakMB: bench.Peak(p.PID()) >> 20})

		quiet, rate := timeWrites(b, p, recoveryWrites, nil)
		idle := bench.Settle(b, p.PID()) >> 20
		saved := filepath.Join(dir, "saved.snap")
		t.phaseFrom(b, p, idle, "save, GET /v1/snapshot", zip, "1.5", func() error { return saveSnapshot(p, saved) })
		size := fileSize(b, saved)
		verifyFile(b, t, saved, decode)

		saves := 0
		busy, busyRate := timeWrites(b, p, recoveryWrites, func(ctx context.Context) error {
			for ctx.Err() == nil {
				if err := saveSnapshot(p, saved); err != nil {
					return err
				}
				saves++
			}
			return nil
		})
		fmt.Printf("\n%d keys with values of %d bytes, a stream of %d MB; one server process\n", keys, bench.ValueLen, length>>20)
		fmt.Printf("an archive of %d MB; the floor's, by compress/gzip at level 1, has %d MB\n\n", size>>20, zipped>>20)
		t.print(idle)
		fmt.Printf("\n| writes, %d at a time | p50 ms | p99 ms | per second |\n|---|---:|---:|---:|\n", recoveryWriters)
		fmt.Printf("| without a save | %.1f | %.1f | %.0f |\n", quantile(quiet, 0.5), quantile(quiet, 0.99), rate)
		fmt.Printf("| while saves go on, one after the other (%d) | %.1f | %.1f | %.0f |\n", saves, quantile(busy, 0.5), quantile(busy, 0.99), busyRate)
		fmt.Printf("| of that without (aim for p99: 2) | %.2f | %.2f | %.2f |\n",
			quantile(busy, 0.5)/quantile(quiet, 0.5), quantile(busy, 0.99)/quantile(quiet, 0.99), busyRate/rate)
		p.Kill()
	}
}

// byteCount counts what is written to it.
type byteCount int64

// Write counts.
func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}

func fileSize(b *testing.B, path string) int64 {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// recoveryTable collects the rows.
type recoveryTable struct {
	w    *tabwriter.Writer
	rows []string
}

// recoveryRow is one measure; what is 0 or "" is left out.
type recoveryRow struct {
	name           string
	took, cpu      time.Duration
	floor          time.Duration
	aim            string
	peakMB, idleMB int64
}

func (t *recoveryTable) add(r recoveryRow) {
	ratio, memory := "", ""
	if r.floor > 0 {
		ratio = fmt.Sprintf("%.2f", r.took.Seconds()/r.floor.Seconds())
	}
	if r.peakMB > 0 {
		memory = fmt.Sprint(r.peakMB)
	}
	if r.idleMB > 0 {
		memory += fmt.Sprintf(" (%.2f of idle)", float64(r.peakMB)/float64(r.idleMB))
	}
	t.rows = append(t.rows, fmt.Sprintf("| %s\t| %.2f\t| %.2f\t| %s\t| %s\t| %s\t|", r.name, r.took.Seconds(), r.cpu.Seconds(), ratio, r.aim, memory))
}

// floor times what the benchmark does by itself: the median of three.
func (t *recoveryTable) floor(b *testing.B, name string, do func() error) time.Duration {
	type run struct{ took, cpu time.Duration }
	var runs []run
	for range 3 {
		start, before := time.Now(), bench.CPU(b, os.Getpid())
		if err := do(); err != nil {
			b.Fatal(err)
		}
		runs = append(runs, run{time.Since(start), bench.CPU(b, os.Getpid()) - before})
	}
	slices.SortFunc(runs, func(a, b run) int { return int(a.took - b.took) })
	t.add(recoveryRow{name: name, took: runs[1].took, cpu: runs[1].cpu})
	return runs[1].took
}

// phase times what a server does, with the most memory that it had meanwhile.
func (t *recoveryTable) phase(b *testing.B, p *testutil.Process, name string, floor time.Duration, aim string, do func() error) {
	t.phaseFrom(b, p, 0, name, floor, aim, do)
}

func (t *recoveryTable) phaseFrom(b *testing.B, p *testutil.Process, idle int64, name string, floor time.Duration, aim string, do func() error) {
	bench.ForgetPeak(b, p.PID())
	start, before := time.Now(), bench.CPU(b, p.PID())
	if err := do(); err != nil {
		b.Fatal(err)
	}
	t.add(recoveryRow{name: name, took: time.Since(start), cpu: bench.CPU(b, p.PID()) - before, floor: floor, aim: aim, peakMB: bench.Peak(p.PID()) >> 20, idleMB: idle})
}

func (t *recoveryTable) print(idle int64) {
	fmt.Fprintln(t.w, "| measure\t| seconds\t| CPU s\t| of its floor\t| aim\t| peak memory MB\t|\n|---\t|---:\t|---:\t|---:\t|---:\t|---:\t|")
	for _, row := range t.rows {
		fmt.Fprintln(t.w, row)
	}
	fmt.Fprintf(t.w, "| idle\t|\t|\t|\t|\t| %d\t|\n", idle)
	t.w.Flush()
}

func writeArchive(b *testing.B, path string, stream []byte) {
	b.Helper()
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	meta := &raft.SnapshotMeta{Version: 1, ID: "1-2000000-1", Index: 2_000_000, Term: 1, Size: int64(len(stream))}
	if err := archive.Write(file, meta, bytes.NewReader(stream)); err != nil {
		b.Fatal(err)
	}
}

func restoreSnapshot(p *testutil.Process, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	request, err := http.NewRequest(http.MethodPut, "http://"+p.HTTPAddr()+"/v1/snapshot", file)
	if err != nil {
		return err
	}
	return bench.Answer(http.DefaultClient.Do(request))
}

func saveSnapshot(p *testutil.Process, path string) error {
	return bench.Fetch("http://"+p.HTTPAddr()+"/v1/snapshot", path)
}

// verifyFile runs the command, which is a process too.
func verifyFile(b *testing.B, t *recoveryTable, path string, floor time.Duration) {
	b.Helper()
	cmd := exec.Command(testutil.Binary(b), "snapshot", "verify", path)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var most int64
	for {
		select {
		case err := <-done:
			if err != nil {
				b.Fatalf("verify: %v", err)
			}
			cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			t.add(recoveryRow{name: "praetor snapshot verify", took: time.Since(start), cpu: cpu, floor: floor, peakMB: most})
			return
		case <-time.After(20 * time.Millisecond):
			if now := bench.Peak(cmd.Process.Pid) >> 20; now > most { // it may be gone
				most = now
			}
		}
	}
}

// timeWrites has writers put keys for a while, and returns how long each took in
// ms, in order, and how many were done in a second. meanwhile goes on as long.
func timeWrites(b *testing.B, p *testutil.Process, during time.Duration, meanwhile func(context.Context) error) ([]float64, float64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), during)
	defer cancel()
	c := p.Client()
	var mu sync.Mutex
	var all []float64
	var wait sync.WaitGroup
	failures := make(chan error, recoveryWriters+1)
	if meanwhile != nil {
		wait.Go(func() {
			if err := meanwhile(ctx); err != nil {
				failures <- err
			}
		})
	}
	start := time.Now()
	var took time.Duration
	for w := range recoveryWriters {
		wait.Go(func() {
			var mine []float64
			for i := w; ctx.Err() == nil; i += recoveryWriters {
				begun := time.Now()
				if _, err := c.KV().Apply(context.Background(), structs.KVSet, bench.Put(i).DirEnt); err != nil {
					failures <- err
					return
				}
				mine = append(mine, float64(time.Since(begun).Microseconds())/1000)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			took = time.Since(start)
		})
	}
	wait.Wait()
	select {
	case err := <-failures:
		b.Fatal(err)
	default:
	}
	slices.Sort(all)
	return all, float64(len(all)) / took.Seconds()
}

func quantile(sorted []float64, q float64) float64 {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"praetor/testutil"
	"praetor/testutil/bench"
)

const (
	watchers    = 10_000
	wakes       = 5                // rounds of waking all of them
	elsewhere   = 20 * time.Second // of writes that concern no watcher
	writers     = 20
	watchedName = "watched/key"
)

var watchKinds = []bench.WatchKind{
	bench.BlockingQuery(watchedName),
	{
		Name: "change feed",
		Arm: func(index uint64) string {
			return bench.GetRequest(fmt.Sprintf("/v1/watch/kv/%s?index=%d", watchedName, index))
		},
		Woken: func(in *bufio.Reader) (uint64, error) { return readEvent(in, "put") },
		Ready: func(in *bufio.Reader) error { _, err := readEvent(in, "synced"); return err },
	},
}

// readEvent reads up to the next event of a type, whatever chunks it comes in.
func readEvent(in *bufio.Reader, kind string) (uint64, error) {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if !bytes.HasPrefix(line, []byte(`{"Type":"`+kind)) {
			continue
		}
		_, rest, _ := bytes.Cut(line, []byte(`"Index":`))
		digits := rest[:bytes.IndexAny(rest, ",}")]
		return strconv.ParseUint(string(digits), 10, 64)
	}
}

// watchFigures are what one kind costs.
type watchFigures struct {
	rss, heap    float64 // KiB a watcher: of the process, in use by Go
	goroutines   float64 // a watcher
	idleCPU      float64 // percent of a core, above that of the writes alone
	median, last []time.Duration
	wakeCPU      []time.Duration // of the server, for a whole round
}

// BenchmarkWatch prints what 10,000 watchers of one key cost a server, as
// blocking queries and as feeds, in the same run.
func BenchmarkWatch(b *testing.B) {
	figures := make([]watchFigures, len(watchKinds))
	for b.Loop() {
		for i, kind := range watchKinds {
			figures[i] = measureWatch(b, kind)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "\n| %d watchers of one key\t| %s\t| %s\t|\n|---\t|---:\t|---:\t|\n", watchers, watchKinds[0].Name, watchKinds[1].Name)
	row := func(name, format string, of func(watchFigures) float64) {
		fmt.Fprintf(w, "| %s\t| "+format+"\t| "+format+"\t|\n", name, of(figures[0]), of(figures[1]))
	}
	ms := func(times []time.Duration) float64 {
		slices.Sort(times)
		return float64(times[len(times)/2].Microseconds()) / 1000
	}
	row("memory of the process, KiB a watcher", "%.1f", func(f watchFigures) float64 { return f.rss })
	row("of which in use by Go (heap and stacks)", "%.1f", func(f watchFigures) float64 { return f.heap })
	row("goroutines a watcher", "%.1f", func(f watchFigures) float64 { return f.goroutines })
	row("CPU while 1,000 writes/s go on elsewhere, % of a core above that of the writes", "%.1f", func(f watchFigures) float64 { return f.idleCPU })
	row("time until half of them have a change, ms", "%.0f", func(f watchFigures) float64 { return ms(f.median) })
	row("time until all of them have it, ms", "%.0f", func(f watchFigures) float64 { return ms(f.last) })
	row("CPU of the server for that and 2 s after, ms", "%.0f", func(f watchFigures) float64 { return ms(f.wakeCPU) })
	w.Flush()
}

func measureWatch(b *testing.B, kind bench.WatchKind) (f watchFigures) {
	p := testutil.NewProcess(b, "-bootstrap", "-log-level=warn", "-hcl=enable_debug = true", "-hcl=limits { http_max_conns_per_client = 0 }")
	p.Start()
	p.AwaitLeader()
	defer p.Kill()
	kv := p.Client().KV()
	put := func(key string, i int) {
		if err := kv.Put(context.Background(), key, fmt.Append(nil, i)); err != nil {
			b.Fatal(err)
		}
	}
	put(watchedName, 0)
	_, meta, err := kv.Get(context.Background(), watchedName, nil)
	if err != nil {
		b.Fatal(err)
	}
	quiet := writeElsewhere(b, p)
	before := bench.MemoryOf(b, p)

	ws := bench.OpenWatchers(b, p, kind, watchers, meta.Index)
	defer ws.Close()
	time.Sleep(2 * time.Second)
	after := bench.MemoryOf(b, p)
	f.rss, f.heap = (after.RSS-before.RSS)/watchers, (after.InUse-before.InUse)/watchers
	f.goroutines = (after.Goroutines - before.Goroutines) / watchers
	f.idleCPU = 100 * float64(writeElsewhere(b, p)-quiet) / float64(elsewhere)
	for i := range wakes {
		cpu := bench.CPU(b, p.PID())
		start := time.Now()
		put(watchedName, i+1)
		times := ws.Await(start)
		f.median, f.last = append(f.median, times[len(times)/2]), append(f.last, times[len(times)-1])
		time.Sleep(2 * time.Second) // 2 s after
		f.wakeCPU = append(f.wakeCPU, bench.CPU(b, p.PID())-cpu)
	}
	return f
}

// writeElsewhere makes 1,000 writes a second that concern no watcher, for a
// while, and returns what CPU the server used.
func writeElsewhere(b *testing.B, p *testutil.Process) time.Duration {
	before := bench.CPU(b, p.PID())
	ctx, cancel := context.WithTimeout(context.Background(), elsewhere)
	defer cancel()
	kv := p.Client().KV()
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			tick := time.NewTicker(writers * time.Millisecond)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				if err := kv.Put(context.WithoutCancel(ctx), fmt.Sprintf("elsewhere/%d", i), fmt.Append(nil, n)); err != nil {
					b.Error(err)
					return
				}
				<-tick.C
			}
		})
	}
	writing.Wait()
	return bench.CPU(b, p.PID()) - before
}

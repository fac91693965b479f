package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
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

// watchKind is one way to watch a key over HTTP.
type watchKind struct {
	name string
	// arm is the request that waits for what comes after an index.
	arm func(index uint64) string
	// woken reads until the change has come and returns its index.
	woken func(in *bufio.Reader) (uint64, error)
	// ready reads what comes at once.
	ready func(in *bufio.Reader) error
	again bool // arm must be sent after each change
}

func get(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: praetor\r\n\r\n"
}

var watchKinds = []watchKind{
	{
		name:  "blocking query",
		arm:   func(index uint64) string { return get(fmt.Sprintf("/v1/kv/%s?index=%d&wait=10m", watchedName, index)) },
		woken: readReply,
		ready: func(*bufio.Reader) error { return nil },
		again: true,
	},
	{
		name:  "change feed",
		arm:   func(index uint64) string { return get(fmt.Sprintf("/v1/watch/kv/%s?index=%d", watchedName, index)) },
		woken: func(in *bufio.Reader) (uint64, error) { return readEvent(in, "put") },
		ready: func(in *bufio.Reader) error { _, err := readEvent(in, "synced"); return err },
	},
}

// readReply reads an HTTP reply that has a length.
func readReply(in *bufio.Reader) (index uint64, err error) {
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			_, err := in.Discard(length)
			return index, err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
		if value, ok := bytes.CutPrefix(line, []byte("X-Consul-Index: ")); ok {
			index, _ = strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
		}
	}
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
	fmt.Fprintf(w, "\n| %d watchers of one key\t| %s\t| %s\t|\n|---\t|---:\t|---:\t|\n", watchers, watchKinds[0].name, watchKinds[1].name)
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

func measureWatch(b *testing.B, kind watchKind) (f watchFigures) {
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
	before := memoryOf(b, p)

	ws := openWatchers(b, p, kind, meta.Index)
	defer ws.close()
	time.Sleep(2 * time.Second)
	after := memoryOf(b, p)
	f.rss, f.heap = (after.rss-before.rss)/watchers, (after.heap-before.heap)/watchers
	f.goroutines = (after.goroutines - before.goroutines) / watchers
	f.idleCPU = 100 * float64(writeElsewhere(b, p)-quiet) / float64(elsewhere)
	for i := range wakes {
		cpu := bench.CPU(b, p.PID())
		start := time.Now()
		put(watchedName, i+1)
		times := ws.await(start)
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

// openConns are the connections of all watchers, with a goroutine each.
type openConns struct {
	b     *testing.B
	conns []net.Conn
	woken chan time.Time
	wait  sync.WaitGroup
}

func openWatchers(b *testing.B, p *testutil.Process, kind watchKind, index uint64) *openConns {
	ws := &openConns{b: b, conns: make([]net.Conn, watchers), woken: make(chan time.Time, watchers)}
	var dialing sync.WaitGroup
	for worker := range 32 {
		dialing.Go(func() {
			for i := worker; i < watchers; i += 32 {
				conn, err := net.Dial("tcp", p.HTTPAddr())
				if err == nil {
					_, err = io.WriteString(conn, kind.arm(index))
				}
				if err != nil {
					b.Error(err)
					return
				}
				ws.conns[i] = conn
				in := bufio.NewReaderSize(conn, 1024)
				if err := kind.ready(in); err != nil {
					b.Error(err)
					return
				}
				ws.wait.Go(func() { ws.watch(kind, conn, in) })
			}
		})
	}
	dialing.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return ws
}

func (ws *openConns) watch(kind watchKind, conn net.Conn, in *bufio.Reader) {
	for {
		index, err := kind.woken(in)
		if err != nil {
			return // closed
		}
		ws.woken <- time.Now()
		if kind.again {
			if _, err := io.WriteString(conn, kind.arm(index)); err != nil {
				return
			}
		}
	}
}

// await waits until all have woken and returns when, since start, in order.
func (ws *openConns) await(start time.Time) []time.Duration {
	times := make([]time.Duration, 0, watchers)
	deadline := time.After(time.Minute)
	for range watchers {
		select {
		case at := <-ws.woken:
			times = append(times, at.Sub(start))
		case <-deadline:
			ws.b.Fatalf("only %d of %d watchers woke", len(times), watchers)
		}
	}
	slices.Sort(times)
	return times
}

func (ws *openConns) close() {
	for _, conn := range ws.conns {
		if conn != nil {
			conn.Close()
		}
	}
	ws.wait.Wait()
}

// memory is what a process uses, in KiB.
type memory struct{ rss, heap, goroutines float64 }

var profileLine = regexp.MustCompile(`(?m)^# (HeapInuse|Stack) = (\d+)`)

// memoryOf asks the server to collect its garbage, gives the system time to take
// pages back, and looks.
func memoryOf(b *testing.B, p *testutil.Process) (m memory) {
	fetch := func(path string) string {
		reply, err := http.Get("http://" + p.HTTPAddr() + path)
		if err != nil {
			b.Fatal(err)
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil {
			b.Fatal(err)
		}
		return string(text)
	}
	for range 3 { // stacks shrink step by step
		fetch("/debug/pprof/heap?gc=1&debug=1")
	}
	time.Sleep(time.Second)
	for _, match := range profileLine.FindAllStringSubmatch(fetch("/debug/pprof/heap?gc=1&debug=1"), -1) {
		n, _ := strconv.ParseFloat(match[2], 64)
		m.heap += n / 1024
	}
	fmt.Sscanf(strings.TrimPrefix(fetch("/debug/pprof/goroutine?debug=1"), "goroutine profile: total "), "%g", &m.goroutines)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fmt.Sscan(rest, &m.rss)
	return m
}

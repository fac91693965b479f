package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"praetor/testutil"
)

// WatchKind is one way to watch a key over HTTP.
type WatchKind struct {
	Name string
	// Arm is the request that waits for what comes after an index.
	Arm func(index uint64) string
	// Woken reads until the change has come and returns its index.
	Woken func(in *bufio.Reader) (uint64, error)
	// Ready reads what comes at once.
	Ready func(in *bufio.Reader) error
	Again bool // Arm must be sent after each change
}

// GetRequest is a GET as it goes over the wire.
func GetRequest(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: praetor\r\n\r\n"
}

// BlockingQuery watches a key by asking again and again.
func BlockingQuery(key string) WatchKind {
	return WatchKind{
		Name:  "blocking query",
		Arm:   func(index uint64) string { return GetRequest(fmt.Sprintf("/v1/kv/%s?index=%d&wait=10m", key, index)) },
		Woken: readReply,
		Ready: func(*bufio.Reader) error { return nil },
		Again: true,
	}
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

// Watchers are connections that watch, with a goroutine each.
type Watchers struct {
	tb    testing.TB
	conns []net.Conn
	woken chan time.Time
	wait  sync.WaitGroup

	mu   sync.Mutex    // guards held
	held chan struct{} // closed when those that have woken may ask again; nil if they may
}

// OpenWatchers opens n connections to a server and has each watch what comes after an index.
func OpenWatchers(tb testing.TB, p *testutil.Process, kind WatchKind, n int, index uint64) *Watchers {
	ws := &Watchers{tb: tb, conns: make([]net.Conn, n), woken: make(chan time.Time, n)}
	var dialing sync.WaitGroup
	for worker := range 32 {
		dialing.Go(func() {
			for i := worker; i < n; i += 32 {
				conn, err := net.Dial("tcp", p.HTTPAddr())
				if err == nil {
					_, err = io.WriteString(conn, kind.Arm(index))
				}
				if err != nil {
					tb.Error(err)
					return
				}
				ws.conns[i] = conn
				in := bufio.NewReaderSize(conn, 1024)
				if err := kind.Ready(in); err != nil {
					tb.Error(err)
					return
				}
				ws.wait.Go(func() { ws.watch(kind, conn, in) })
			}
		})
	}
	dialing.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	return ws
}

func (ws *Watchers) watch(kind WatchKind, conn net.Conn, in *bufio.Reader) {
	for {
		index, err := kind.Woken(in)
		if err != nil {
			return // closed
		}
		ws.woken <- time.Now()
		if kind.Again {
			ws.mu.Lock()
			held := ws.held
			ws.mu.Unlock()
			if held != nil {
				<-held
			}
			if _, err := io.WriteString(conn, kind.Arm(index)); err != nil {
				return
			}
		}
	}
}

// Hold has those that wake from now on not ask again until release is called.
func (ws *Watchers) Hold() (release func()) {
	held := make(chan struct{})
	hold := func(c chan struct{}) {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		ws.held = c
	}
	hold(held)
	return func() { hold(nil); close(held) }
}

// Await waits until all have woken and returns when, since start, in order.
func (ws *Watchers) Await(start time.Time) []time.Duration {
	times := make([]time.Duration, 0, len(ws.conns))
	deadline := time.After(time.Minute)
	for range ws.conns {
		select {
		case at := <-ws.woken:
			times = append(times, at.Sub(start))
		case <-deadline:
			ws.tb.Fatalf("only %d of %d watchers woke", len(times), len(ws.conns))
		}
	}
	slices.Sort(times)
	return times
}

// Close hangs up.
func (ws *Watchers) Close() {
	for _, conn := range ws.conns {
		if conn != nil {
			conn.Close()
		}
	}
	ws.wait.Wait()
}

// Memory is what a server uses: resident and in use by Go (heap and stacks), in KiB, and its goroutines.
type Memory struct{ RSS, InUse, Goroutines float64 }

var profileLine = regexp.MustCompile(`(?m)^# (HeapInuse|Stack) = (\d+)`)

// MemoryOf asks a server with enable_debug to collect its garbage, gives the system time to take
// pages back, and looks.
func MemoryOf(tb testing.TB, p *testutil.Process) (m Memory) {
	fetch := func(path string) string {
		reply, err := http.Get("http://" + p.HTTPAddr() + path)
		if err != nil {
			tb.Fatal(err)
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil {
			tb.Fatal(err)
		}
		return string(text)
	}
	for range 3 { // stacks shrink step by step
		fetch("/debug/pprof/heap?gc=1&debug=1")
	}
	time.Sleep(time.Second)
	for _, match := range profileLine.FindAllStringSubmatch(fetch("/debug/pprof/heap?gc=1&debug=1"), -1) {
		n, _ := strconv.ParseFloat(match[2], 64)
		m.InUse += n / 1024
	}
	fmt.Sscanf(strings.TrimPrefix(fetch("/debug/pprof/goroutine?debug=1"), "goroutine profile: total "), "%g", &m.Goroutines)
	m.RSS = float64(Resident(tb, p.PID())) / 1024
	return m
}

package testutil

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	tailLines  = 60  // what is shown of a server's log
	panicLines = 100 // what is shown of a panic, or of the goroutines of a server that does not answer
)

// watched holds every Process of a test that has not ended.
var watched sync.Map // of *Process

// deathIn tells how a process of the test, or of the test around it, died
// though nobody had stopped it; "" if none did.
func deathIn(t testing.TB) (death string) {
	watched.Range(func(key, _ any) bool {
		p := key.(*Process)
		if owner := p.t.Name(); t.Name() == owner || strings.HasPrefix(t.Name(), owner+"/") {
			death = p.death()
		}
		return death == ""
	})
	return death
}

// fate is what is known of how a process ended.
type fate struct {
	mu       sync.Mutex // guards the fields below
	starts   uint64
	from     int    // where in the output this run begins
	expected bool   // somebody has ended it
	status   string // "" while it runs
	death    string // what it said last, if it ended though nobody had ended it
}

func (f *fate) started(from int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starts++
	f.from, f.expected, f.status = from, false, ""
}

func (f *fate) life() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.starts == 0 || f.status != "" {
		return 0
	}
	return f.starts
}

func (f *fate) expect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expected = true
}

func (f *fate) ended(status, output string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
	if !f.expected {
		f.death = fmt.Sprintf("%s, and nobody had stopped it. It said:\n%s", status, lastWords(output[f.from:]))
	}
}

func (f *fate) forgive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.death = ""
}

func (p *Process) death() string {
	p.fate.mu.Lock()
	defer p.fate.mu.Unlock()
	if p.fate.death == "" {
		return ""
	}
	return fmt.Sprintf("server on port %d has died: %s", p.RPC, p.fate.death)
}

// end kills the process when its test ends, and says what is to be known of it
// if the test failed.
func (p *Process) end() {
	defer watched.Delete(p)
	if death := p.death(); death != "" {
		p.t.Errorf("%s", death)
	}
	if p.cmd == nil || !p.t.Failed() {
		p.Kill()
		return
	}
	watched.Range(func(key, _ any) bool { // all, before the first of them is killed
		if other := key.(*Process); other.t == p.t && other.cmd != nil {
			other.examine()
		}
		return true
	})
	log, state, goroutines := p.Output(), p.state, ""
	if p.state == silent && p.fate.life() != 0 {
		goroutines = p.goroutines()
	}
	p.Kill()
	p.t.Logf("server on port %d, process %d: %s. The end of its output:\n%s%s", p.RPC, p.PID(), state, lastLines(log, tailLines), goroutines)
}

// silent is the state of a server that runs but does not answer.
const silent = "running, but it does not answer"

// examine notes, once, in what state the server is.
func (p *Process) examine() {
	p.fate.mu.Lock()
	status := p.fate.status
	p.fate.mu.Unlock()
	switch {
	case p.state != "":
	case status != "":
		p.state = status
	case p.answers():
		p.state = "running"
	default:
		p.state = silent
	}
}

// answers reports whether the server serves a consistent read, in a time that
// is long for one.
func (p *Process) answers() bool {
	c := http.Client{Timeout: 3 * time.Second}
	resp, err := c.Get("http://" + p.HTTPAddr() + "/v1/kv/?keys&consistent")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode < http.StatusInternalServerError
}

// goroutines ends the process with SIGQUIT and returns what its goroutines did.
func (p *Process) goroutines() string {
	p.fate.expect()
	from := len(p.Output())
	p.cmd.Process.Signal(syscall.SIGQUIT)
	p.cmd.Process.Signal(syscall.SIGCONT) // a stopped one takes it only then
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		return "\nIt does not even take SIGQUIT."
	}
	return "\nIts goroutines, the innermost function first:\n" + summarize(p.Output()[from:], panicLines)
}

package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// lockServer serves keys and sessions, as far as locks need them.
type lockServer struct {
	*httptest.Server

	mu       sync.Mutex // guards the fields below
	changed  chan struct{}
	index    uint64
	pairs    map[string]*api.KVPair
	sessions map[string]*api.SessionEntry
	renewed  time.Time     // the last time a session was created or renewed
	hangs    chan struct{} // not nil: nothing is answered until it is closed
	fails    int           // so many reads are answered with 500
	asked    int           // requests
}

func newLockServer(t *testing.T) *lockServer {
	s := &lockServer{changed: make(chan struct{}), index: 1, pairs: map[string]*api.KVPair{}, sessions: map[string]*api.SessionEntry{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// change runs f and wakes who waits.
func (s *lockServer) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *lockServer) see(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// await waits until f is true of what the server holds.
func (s *lockServer) await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var ok bool
		if s.see(func() { ok = f() }); ok {
			return
		}
	}
	t.Fatal("never: " + what)
}

// hang makes the server fall silent until it is woken up. It returns when the
// last renewal was.
func (s *lockServer) hang(t *testing.T) (renewed time.Time, wake func()) {
	silent := make(chan struct{})
	wake = sync.OnceFunc(func() {
		s.see(func() { s.hangs = nil })
		close(silent)
	})
	t.Cleanup(wake)
	s.see(func() { s.hangs, renewed = silent, s.renewed })
	return renewed, wake
}

// destroy invalidates a session, without the lock delay.
func (s *lockServer) destroy(id string) {
	s.change(func() {
		if s.sessions[id] == nil {
			return
		}
		for key, p := range s.pairs {
			if p.Session == id && s.sessions[id].Behavior == "delete" {
				delete(s.pairs, key)
			} else if p.Session == id {
				p.Session = ""
			}
		}
		delete(s.sessions, id)
	})
}

func (s *lockServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked++
	hangs, fails := s.hangs, s.fails > 0 && r.Method == http.MethodGet
	if fails {
		s.fails--
	}
	s.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	if fails {
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return
	}
	switch what, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/"); what + " " + r.Method {
	case "kv GET":
		s.get(w, r, rest)
	case "kv PUT":
		fmt.Fprint(w, s.put(r, rest, body))
	case "kv DELETE":
		s.change(func() {
			cas := r.URL.Query().Get("cas")
			if p := s.pairs[rest]; p != nil && (cas == "" || cas == strconv.FormatUint(p.ModifyIndex, 10)) {
				delete(s.pairs, rest)
			}
		})
		fmt.Fprint(w, "true")
	case "session PUT":
		s.session(w, rest, body)
	}
}

func (s *lockServer) session(w http.ResponseWriter, path string, body []byte) {
	verb, id, _ := strings.Cut(path, "/")
	switch verb {
	case "create":
		var in struct{ Name, TTL, Behavior string }
		_ = json.Unmarshal(body, &in)
		s.change(func() {
			id = fmt.Sprintf("session-%d", s.index)
			s.renewed = time.Now()
			s.sessions[id] = &api.SessionEntry{ID: id, Name: in.Name, TTL: in.TTL, Behavior: in.Behavior}
		})
		fmt.Fprintf(w, `{"ID":%q}`, id)
	case "destroy":
		s.destroy(id)
		fmt.Fprint(w, "true")
	case "renew":
		s.see(func() {
			if e := s.sessions[id]; e == nil {
				http.Error(w, "Session id '"+id+"' not found", http.StatusNotFound)
			} else {
				s.renewed = time.Now()
				_ = json.NewEncoder(w).Encode([]*api.SessionEntry{e})
			}
		})
	}
}

func (s *lockServer) get(w http.ResponseWriter, r *http.Request, key string) {
	q := r.URL.Query()
	since, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	timeout := time.After(wait)
	for {
		var changed chan struct{}
		var index uint64
		var rows []api.KVPair
		s.see(func() {
			changed, index = s.changed, s.index
			for k, p := range s.pairs {
				if k == key || q.Has("recurse") && strings.HasPrefix(k, key) {
					rows = append(rows, *p)
				}
			}
		})
		if since != 0 && index <= since {
			select {
			case <-changed:
				continue
			case <-r.Context().Done():
				return
			case <-timeout:
			}
		}
		w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
		if len(rows) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(rows)
		return
	}
}

func (s *lockServer) put(r *http.Request, key string, value []byte) (done bool) {
	q := r.URL.Query()
	s.change(func() {
		p := s.pairs[key]
		if p == nil {
			p = &api.KVPair{Key: key, CreateIndex: s.index}
		}
		switch session := q.Get("acquire") + q.Get("release"); {
		case q.Has("acquire") && (s.sessions[session] == nil || p.Session != "" && p.Session != session):
			return
		case q.Has("acquire") && p.Session == "":
			p.Session = session
			p.LockIndex++
		case q.Has("release") && p.Session != session:
			return
		case q.Has("release"):
			p.Session = ""
		case q.Has("cas") && q.Get("cas") != strconv.FormatUint(p.ModifyIndex, 10):
			return
		}
		p.Flags, _ = strconv.ParseUint(q.Get("flags"), 10, 64)
		p.Value, p.ModifyIndex = value, s.index
		s.pairs[key] = p
		done = true
	})
	return done
}

// heartbeat is a command line that says in a file when it was last alive, and
// does not end when it is asked to; neither does what it starts.
func heartbeat(t *testing.T) (line string, last func() time.Time) {
	own, child := filepath.Join(t.TempDir(), "own"), filepath.Join(t.TempDir(), "child")
	beat := func(file string) string { return fmt.Sprintf("while :; do echo >%s; sleep 0.02; done", file) }
	return fmt.Sprintf("trap '' TERM; (%s) & %s", beat(child), beat(own)), func() (last time.Time) {
		for _, file := range []string{own, child} {
			if info, err := os.Stat(file); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
			}
		}
		return last
	}
}

func TestLockIsHeldWhileTheCommandRuns(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	l := startLock(t, s, "/app/x/", `read line; echo $PRAETOR_LOCK_KEY $PRAETOR_LOCK_INDEX $CONSUL_LOCK_HELD $PRAETOR_LOCK_HELD "$line"`)
	l.ends(t, 0, "app/x/.lock 1 true true \n")
	s.see(func() {
		if p := s.pairs["app/x/.lock"]; p == nil || p.Session != "" || p.Flags != 0x2ddccbc058a50c18 || len(s.sessions) != 0 {
			t.Errorf("it left %+v and %d sessions", p, len(s.sessions))
		}
	})
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"app/x", "exit 3"}, 0, ""},
		{[]string{"-child-exit-code", "app/x", "exit 3"}, 2, ""},
		{[]string{"-child-exit-code", "app/x", "kill -9 $$"}, 2, ""},
		{[]string{"-child-exit-code", "app/x", "exit 0"}, 0, ""},
		{[]string{"-verbose", "app/x", "echo $PRAETOR_LOCK_INDEX"}, 0, "?fence=app/x/.lock:6 are refused once it is lost"},
		{[]string{"-shell=false", "app/x", "echo", "$HOME", "-n"}, 0, "$HOME -n\n"},
		{[]string{"-shell=false", "app/x", "/does/not/exist"}, 1, "Error! The command cannot be started: "},
		{[]string{"-n=2", "app/x", "true"}, 1, "app/x/.lock belongs to a lock for one holder: -n must be 1"},
	} {
		l := startLock(t, s, c.args...)
		l.ends(t, c.code, c.want)
		s.see(func() {
			if p := s.pairs["app/x/.lock"]; p.Session != "" || len(s.sessions) != 0 {
				t.Errorf("%q left the lock held by %q and %d sessions", c.args, p.Session, len(s.sessions))
			}
		})
	}
}

// TestChildIsDeadBeforeTheLeaseEnds is the promise of "lock". The server falls
// silent, and nothing reacts to SIGTERM.
func TestChildIsDeadBeforeTheLeaseEnds(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"-n=1", "-n=2"} {
		t.Run(n, func(t *testing.T) {
			t.Parallel()
			s := newLockServer(t)
			line, last := heartbeat(t)
			l := startLock(t, s, n, "app/x", line)
			for start := time.Now(); last().IsZero() || time.Since(start) < testTiming.ttl/2; time.Sleep(10 * time.Millisecond) {
			}
			renewed, _ := s.hang(t)
			l.ends(t, 1, "Error! The lock on app/x was lost", "the server does not answer")
			if end := renewed.Add(testTiming.ttl); !last().Before(end) {
				t.Errorf("the command lived until %v after the end of the lease", last().Sub(end))
			} else {
				t.Logf("it died %v before the end of the lease", end.Sub(last()))
			}
			died := last()
			time.Sleep(100 * time.Millisecond)
			if last() != died {
				t.Error("something of it is still alive")
			}
		})
	}
}

func TestLostLockStopsTheCommandAtOnce(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(s *lockServer){
		"its session is gone": func(s *lockServer) {
			s.change(func() { clear(s.sessions) }) // only a renewal can tell
		},
		"it was taken away": func(s *lockServer) {
			s.change(func() { s.pairs["app/x/.lock"].Session = "" })
		},
		"it could not be watched: Unexpected response code: 500": func(s *lockServer) {
			s.change(func() { s.fails = 3 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLockServer(t)
			d := newDiary(t)
			l := startLock(t, s, "-monitor-retry=2", "app/x", "trap 'echo asked to end; exit' TERM; echo ready >"+string(d)+"; while :; do sleep 0.01; done")
			d.await(t, "ready\n")
			start := time.Now()
			lose(s)
			l.ends(t, 1, "Error! The lock on app/x was lost, and the command was stopped: "+name, "asked to end")
			if took := time.Since(start); took > testTiming.ttl {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestLockBearsWithAServerInTrouble(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	l := startLock(t, s, "-monitor-retry=2", "app/x", "sleep 0.5; echo done")
	s.await(t, "locked", func() bool { p := s.pairs["app/x/.lock"]; return p != nil && p.Session != "" })
	s.change(func() { s.fails = 2 })
	l.ends(t, 0, "done")
}

func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	held := func() bool { p := s.pairs["app/x/.lock"]; return p != nil && p.Session != "" }
	d := newDiary(t)
	file := string(d)
	l := startLock(t, s, "-child-exit-code", "app/x", "trap 'echo ending; exit 0' TERM; trap 'echo again >"+file+"' HUP; echo ready >"+file+
		"; while :; do sleep 0.01; done")
	d.await(t, "ready\n")
	_ = l.Process.Signal(syscall.SIGTSTP)
	_ = l.Process.Signal(syscall.SIGHUP)
	d.await(t, "again\n")
	_ = l.Process.Signal(syscall.SIGTERM)
	l.ends(t, 0, "ending\n", "Not paused")

	l = startLock(t, s, "-child-exit-code", "app/x", "trap '' INT; echo ready >"+file+"; while :; do sleep 0.01; done")
	d.await(t, "ready\n")
	_ = l.Process.Signal(os.Interrupt)
	time.Sleep(100 * time.Millisecond)
	s.see(func() {
		if !held() {
			t.Error("the lock was given back while the command ran")
		}
	})
	_ = l.Process.Signal(os.Interrupt)
	l.ends(t, 2)
}

func TestKilledHolderTakesTheCommandAlong(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	file := filepath.Join(t.TempDir(), "beat")
	l := startLock(t, s, "app/x", "trap '' TERM; while :; do echo >"+file+"; sleep 0.02; done")
	s.await(t, "alive", func() bool { _, err := os.Stat(file); return err == nil })
	_ = l.Process.Kill()
	_ = l.Wait()
	time.Sleep(50 * time.Millisecond)
	before, _ := os.Stat(file)
	time.Sleep(100 * time.Millisecond)
	if after, _ := os.Stat(file); after.ModTime() != before.ModTime() {
		t.Error("the command lives on")
	}
}

// TestPausedHolder stops the holder itself: what it can still do is to say so.
func TestPausedHolder(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	l := startLock(t, s, "app/x", "while :; do sleep 0.02; done")
	s.await(t, "locked", func() bool { p := s.pairs["app/x/.lock"]; return p != nil && p.Session != "" })
	time.Sleep(50 * time.Millisecond)
	_ = l.Process.Signal(syscall.SIGSTOP)
	time.Sleep(testTiming.ttl + 200*time.Millisecond)
	_ = l.Process.Signal(syscall.SIGCONT)
	l.ends(t, 1, "?fence=app/x/.lock:1 would have been refused", "this process was paused")
}

func TestWaitingForALock(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	s.change(func() {
		s.sessions["other"] = &api.SessionEntry{}
		s.pairs["app/x/.lock"] = &api.KVPair{Key: "app/x/.lock", Session: "other", Flags: api.LockFlagValue, LockIndex: 7}
	})
	for _, flag := range []string{"-timeout=300ms", "-try=300ms"} {
		startLock(t, s, flag, "app/x", "echo never").ends(t, 1, "Error! The lock was not got within 300ms")
	}
	l := startLock(t, s, "app/x", "echo never")
	s.await(t, "waiting", func() bool { return len(s.sessions) == 2 })
	time.Sleep(50 * time.Millisecond)
	_ = l.Process.Signal(os.Interrupt)
	l.ends(t, 1, "Error! Interrupted while waiting for the lock")

	l = startLock(t, s, "app/x", "echo $PRAETOR_LOCK_INDEX")
	s.await(t, "waiting", func() bool { return len(s.sessions) == 2 })
	time.Sleep(testTiming.ttl * 5 / 4) // longer than a session lives that nobody renews
	s.destroy("other")
	l.ends(t, 0, "8\n")
	s.see(func() {
		if len(s.sessions) != 0 {
			t.Errorf("%d sessions are left", len(s.sessions))
		}
	})
}

func TestServerIsSilentAtFirst(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	_, wake := s.hang(t)
	startLock(t, s, "-timeout=200ms", "app/x", "echo never").ends(t, 1, "Error! The lock was not got within 200ms.")
	interrupted, patient := startLock(t, s, "app/x", "echo never"), startLock(t, s, "app/x", "echo got it")
	s.await(t, "asked for sessions", func() bool { return s.asked >= 3 })
	_ = interrupted.Process.Signal(os.Interrupt)
	interrupted.ends(t, 1, "Error! Interrupted while waiting")
	time.Sleep(testTiming.ttl) // the session may have been made at any time since
	wake()
	patient.ends(t, 0, "got it")
}

func TestSemaphore(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	const limit = 2
	dir := t.TempDir()
	var all []*commandLine
	for i := range 5 {
		all = append(all, startLock(t, s, "-n="+strconv.Itoa(limit), "app/s",
			fmt.Sprintf("touch %[1]s/%[2]d; ls %[1]s | wc -l; sleep 0.1; rm %[1]s/%[2]d", dir, i)))
	}
	for _, l := range all {
		l.ends(t, 0)
		if n, err := strconv.Atoi(strings.TrimSpace(l.stdout.String())); err != nil || n > limit {
			t.Errorf("%d ran at a time (%v)", n, err)
		}
	}
	s.see(func() {
		if len(s.pairs) != 0 || len(s.sessions) != 0 {
			t.Errorf("left: %v, %v", s.pairs, s.sessions)
		}
		value, _ := json.Marshal(semaphoreRow{2, map[string]bool{"other": true}})
		s.pairs["app/s/.lock"] = &api.KVPair{Key: "app/s/.lock", Flags: api.SemaphoreFlagValue, Value: value}
	})
	startLock(t, s, "-n=3", "app/s", "true").ends(t, 1, "is for 2 holders, not for 3: -n must be the same everywhere")
	startLock(t, s, "app/s", "true").ends(t, 1, "belongs to a lock for several holders: -n must say how many")
}

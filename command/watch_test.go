package command

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// diary is a file that commands write to.
type diary string

func newDiary(t *testing.T) diary { return diary(filepath.Join(t.TempDir(), "diary")) }

// await waits for the file to hold the text, and empties it.
func (d diary) await(t *testing.T, want string) {
	t.Helper()
	var got []byte
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got, _ = os.ReadFile(string(d)); string(got) == want {
			if err := os.Truncate(string(d), 0); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("got %q, want %q", got, want)
}

func TestWatchRunsTheCommandAtEachChange(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	set := func(key, value string) func() {
		return func() {
			s.pairs[key] = &api.KVPair{Key: key, Value: []byte(value), ModifyIndex: s.index}
		}
	}
	row := func(value string, index int) string {
		return fmt.Sprintf(`{"Key":"app/a","CreateIndex":0,"ModifyIndex":%d,"LockIndex":0,"Flags":0,"Value":%q,"Session":""}`+"\n", index, value)
	}
	d := newDiary(t)
	w := startCommand(t, s.URL, "watch", "-type=key", "-key=/app/a", "read -r line; echo $CONSUL_INDEX $line >>"+string(d)+"")
	d.await(t, "1 null\n")
	s.change(set("app/a", "1"))
	d.await(t, "2 "+row("MQ==", 2))
	s.change(set("app/b", "1")) // of no concern
	s.change(set("app/a", "1"))
	d.await(t, "4 "+row("MQ==", 4))
	s.change(func() {}) // nothing has changed
	s.change(func() {
		s.index = 2 // another history
		set("app/a", "2")()
	})
	d.await(t, "2 "+row("Mg==", 2))
	s.change(func() {
		s.index = 2
		set("app/a", "3")()
		s.fails = 2
	})
	s.change(func() { s.index = 9 })
	d.await(t, "9 "+row("Mw==", 2))
	s.change(func() { delete(s.pairs, "app/a") })
	d.await(t, "10 null\n")
	_ = w.Process.Signal(os.Interrupt)
	w.ends(t, 0, "Trying again in 20ms, to go on from now.", "Trying again in 40ms")
}

func TestWatchGoesOnWhenTheCommandFails(t *testing.T) {
	t.Parallel()
	s := newLockServer(t)
	d := newDiary(t)
	w := startCommand(t, s.URL, "watch", "-type=keyprefix", "-prefix=app/", "cat >>"+string(d)+"; exit 3")
	d.await(t, "[]\n")
	s.change(func() { s.pairs["app/a"] = &api.KVPair{Key: "app/a"} })
	d.await(t, `[{"Key":"app/a","CreateIndex":0,"ModifyIndex":0,"LockIndex":0,"Flags":0,"Value":null,"Session":""}]`+"\n")
	_ = w.Process.Signal(os.Interrupt)
	w.ends(t, 0, "The command failed: exit status 3")
	startCommand(t, s.URL, "watch", "-type=key", "-key=a", "-shell=false", "/does/not/exist").ends(t, 1, "Error! The command cannot be started")
}

func TestWatchTellsEachEventOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	list, index := `[{"ID":"a"},{"ID":"b"}]`, "77"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			mu.Lock()
			now, at := list, index
			mu.Unlock()
			if r.FormValue("index") != at {
				w.Header().Set("X-Consul-Index", at)
				fmt.Fprint(w, now)
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}))
	t.Cleanup(server.Close)
	d := newDiary(t)
	w := startCommand(t, server.URL, "watch", "-type=event", "-name=deploy", `grep -o '"ID":"."' >>`+string(d))
	d.await(t, "\"ID\":\"a\"\n\"ID\":\"b\"\n")
	mu.Lock()
	list, index = `[{"ID":"b"},{"ID":"c"}]`, "13" // no number that grows
	mu.Unlock()
	d.await(t, "\"ID\":\"c\"\n")
	_ = w.Process.Signal(os.Interrupt)
	w.ends(t, 0)
}

func TestWatchStreamGoesOn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	told := make(chan struct{})
	parts := []string{
		`{"Type":"reset","Index":57,"Reason":"the feed starts here"}
{"Type":"put","Key":"app/a","Value":"MQ==","Flags":0,"LockIndex":0,"CreateIndex":12,"ModifyIndex":12}
{"Type":"synced","ID":"57","Index":57}
{"Type":"put","ID":"58-0","Index":58,"Key":"app/ab","Value":"Mg==","Flags":0,"LockIndex":0,"CreateIndex":12,"ModifyIndex":58}
{"Type":"put","ID":"58-1","Index":58,"Key":"app/a","Value":"Mg==","Flags":0,"LockIndex":0,"CreateIndex":12,"ModifyIndex":58}
{"Type":"put","ID":"59-0","Index":59,"Key":"ap`,
		`{"Type":"progress","ID":"90","Index":90,"KnownLeader":true,"LastContact":12}` + "\n",
		`{"Type":"reset","Index":95,"Reason":"a snapshot was restored"}
{"Type":"synced","ID":"95","Index":95}
{"Type":"delete","ID":"96-0","Index":96,"Key":"app/a","Flags":0,"LockIndex":0,"CreateIndex":12,"ModifyIndex":58}` + "\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := len(asked)
		asked = append(asked, r.RequestURI)
		mu.Unlock()
		if n == 1 {
			http.Error(w, "No cluster leader", http.StatusInternalServerError)
			return
		}
		part := parts[max(0, n-1)]
		fmt.Fprint(w, part)
		_ = http.NewResponseController(w).Flush()
		switch n {
		case 0: // breaks off in the middle of a line
			panic(http.ErrAbortHandler)
		case 3:
			close(told)
		}
		<-r.Context().Done() // silence
	}))
	t.Cleanup(server.Close)
	w := startCommand(t, server.URL, "watch", "-type=kv", "-key=app/a", "-stream", "-stale")
	<-told
	time.Sleep(50 * time.Millisecond)
	_ = w.Process.Signal(os.Interrupt)
	w.ends(t, 0, "the feed broke off", "No cluster leader", "to go on from 58-1.", "nothing was heard for too long", "to go on from 90.",
		"The feed began anew (a snapshot was restored)")
	var want []string
	for line := range strings.Lines(parts[0] + "\n" + parts[2]) {
		if !strings.Contains(line, `"58-0"`) && !strings.Contains(line, `"59-0"`) {
			want = append(want, line)
		}
	}
	if got := w.stdout.String(); got != strings.Join(want, "") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, ""))
	}
	path := "/v1/watch/kv/app/a?"
	if got, want := strings.Join(asked, "\n"), path+"stale=\n"+path+"after=58-1&stale=\n"+path+"after=58-1&stale=\n"+path+"after=90&stale="; got != want {
		t.Errorf("asked for\n%s\nwant\n%s", got, want)
	}
}

func TestWatchStreamNeedsAFeed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	startCommand(t, server.URL, "watch", "-type=keyprefix", "-prefix=", "-stream").ends(t, 1, "Error! The server has no change feed: -stream needs a Praetor server")
}

package agent

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"praetor/structs"
	"praetor/testutil"
)

// awaitNode waits until the leader has put this server into the catalog.
func (a *testAPI) awaitNode() {
	a.t.Helper()
	testutil.Eventually(a.t, 20*time.Second, "serfHealth of node-a", func() error {
		if a.agent.server.FSM().Store().Read().Check("node-a", structs.SerfHealth) == nil {
			return errors.New("not registered")
		}
		return nil
	})
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// Every rule of consul-http.md 2.2 about what is sent and what comes back. ID
// stands for the session that was created last, * for a number.
func TestSession(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.awaitNode()
	long := strings.Repeat("x", 20<<10)
	standard := `"Node":"node-a","LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":*,"ModifyIndex":*}]`
	var id string
	for _, test := range []struct {
		request string // method, target, body
		status  int
		body    string
	}{
		{"GET /v1/session/list", 200, "[]"},
		{"PUT /v1/session/create", 200, `{"ID":"ID"}`},
		{"GET /v1/session/info/ID", 200, `[{"ID":"ID","Name":"",` + standard},
		{"GET /v1/session/list", 200, `[{"ID":"ID","Name":"",` + standard},
		{"GET /v1/session/node/NODE-A", 200, `[{"ID":"ID","Name":"",` + standard},
		{"GET /v1/session/node/other", 200, "[]"},
		{"PUT /v1/session/renew/ID", 200, `[{"ID":"ID","Name":"",` + standard},
		{"PUT /v1/session/destroy/ID", 200, "true"},
		{"PUT /v1/session/destroy/ID", 200, "true"},
		{"GET /v1/session/info/ID", 200, "[]"},
		{"PUT /v1/session/renew/ID", 404, "Session id 'ID' not found"},
		{"PUT /v1/kv/k?acquire=ID x", 500, `raft apply failed: invalid session "ID"`},

		{`PUT /v1/session/create {"name":"n","Node":"node-a","LockDelay":20,"TTL":"10s","Behavior":"delete","NodeChecks":[],"Extra":1}`, 200, `{"ID":"ID"}`},
		{"GET /v1/session/info/ID?stale", 200, `[{"ID":"ID","Name":"n","Node":"node-a","LockDelay":20000000000,"Behavior":"delete","TTL":"10s","NodeChecks":[],"ServiceChecks":null,"ExpiresIn":"~","CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/kv/k?acquire=ID x", 200, "true"},
		{"PUT /v1/kv/k?fence=k:1 y", 200, "true"},
		{"PUT /v1/kv/k?fence=k:2 y", 409, `fenced: the lock on key "k" is held under index 1, not 2`},
		{"GET /v1/kv/k", 200, `[{"LockIndex":1,"Key":"k","Flags":0,"Value":"eQ==","Session":"ID","CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/session/destroy/ID", 200, "true"},
		{"GET /v1/kv/k", 404, ""},

		{`PUT /v1/session/create {"LockDelay":"5s","TTL":"1s","Expiry":"exact","Checks":["serfHealth"]}`, 200, `{"ID":"ID"}`},
		{"PUT /v1/session/renew/ID", 200, `[{"ID":"ID","Name":"","Node":"node-a","LockDelay":5000000000,"Behavior":"release","TTL":"1s","NodeChecks":["serfHealth"],"ServiceChecks":null,"Expiry":"exact","ExpiresIn":"~","CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/kv/k?acquire=ID x", 200, "false"}, // the lock delay of the one before
		{"PUT /v1/session/destroy/ID", 200, "true"},
		{`PUT /v1/session/create {"LockDelay":1000,"Checks":[]}`, 200, `{"ID":"ID"}`},
		{"GET /v1/session/info/ID", 200, `[{"ID":"ID","Name":"","Node":"node-a","LockDelay":1000,"Behavior":"release","TTL":"","NodeChecks":[],"ServiceChecks":null,"CreateIndex":*,"ModifyIndex":*}]`},
		{"PUT /v1/session/destroy/ID", 200, "true"},

		{`PUT /v1/session/create {"LockDelay":"zz"}`, 400, `Request decode failed: time: invalid duration "zz"`},
		{`PUT /v1/session/create {`, 400, "Request decode failed: unexpected end of JSON input"},
		{`PUT /v1/session/create {"Node":"nowhere"}`, 500, "apply failed: Missing node registration"},
		{`PUT /v1/session/create {"Behavior":"abc"}`, 500, "Invalid Behavior setting 'abc'"},
		{`PUT /v1/session/create {"TTL":"1s"}`, 500, "Invalid Session TTL '1000000000', must be between [10s=24h0m0s]"},
		{`PUT /v1/session/create {"TTL":"500ms","Expiry":"exact"}`, 500, "Invalid Session TTL '500000000', must be between [1s=24h0m0s]"},
		{`PUT /v1/session/create {"TTL":"abc"}`, 500, `Session TTL 'abc' invalid: time: invalid duration "abc"`},
		{`PUT /v1/session/create {"Expiry":"later"}`, 500, "Invalid Expiry setting 'later', must be 'exact' or empty"},
		{`PUT /v1/session/create {"NodeChecks":["zzz"]}`, 500, "apply failed: Missing check 'zzz' registration"},
		{`PUT /v1/session/create {"Checks":["zzz"]}`, 500, "apply failed: Missing check 'zzz' registration"},
		{`PUT /v1/session/create {"ServiceChecks":[{"ID":"svc"}]}`, 500, "apply failed: Missing check 'svc' registration"},
		{`PUT /v1/session/create {"Name":"` + long + `"}`, 413, "session is too large: its name, node and checks have 20497 bytes, at most 16384 are allowed"},
		{`PUT /v1/session/create?dc=nope`, 500, "No path to datacenter"},
		{"PUT /v1/session/destroy/", 400, "Missing session"},
		{"PUT /v1/session/renew/", 400, "Missing session"},
		{"GET /v1/session/info/", 400, "Missing session"},
		{"GET /v1/session/node/", 400, "Missing node name"},
		{"GET /v1/session/info/x?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."},
		{"POST /v1/session/create", 405, "method POST not allowed"},
		{"GET /v1/session/list", 200, "[]"},
	} {
		method, rest, _ := strings.Cut(test.request, " ")
		target, body, _ := strings.Cut(rest, " ")
		got := a.do(method, strings.ReplaceAll(target, "ID", id), body)
		if method == "PUT" && strings.HasPrefix(target, "/v1/session/create") && got.status == 200 {
			id = uuids.FindString(got.body)
		}
		text := indexes.ReplaceAllString(got.body, `Index":*`)
		text = regexp.MustCompile(`"ExpiresIn":"[0-9.ms]+"`).ReplaceAllString(text, `"ExpiresIn":"~"`)
		if id != "" {
			text = strings.ReplaceAll(text, id, "ID")
		}
		text = strings.Replace(text, `"LockIndex":*`, `"LockIndex":1`, 1)
		if got.status != test.status || text != test.body {
			t.Errorf("%.200s: got %d %q, want %d %q", test.request, got.status, text, test.status, test.body)
		}
	}
}

// Consul's own Go client makes, reads and renews sessions, and waits on them.
func TestClientSession(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.awaitNode()
	sessions := a.client().Session()
	id, _, err := sessions.Create(&api.SessionEntry{Name: "n", TTL: "10s", LockDelay: time.Second, Behavior: api.SessionBehaviorDelete}, nil)
	if err != nil {
		t.Fatal(err)
	}
	bare, _, err := sessions.CreateNoChecks(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	entry, meta, err := sessions.Info(id, nil)
	if err != nil || meta.LastIndex == 0 || !meta.KnownLeader {
		t.Fatalf("info: got %+v, %+v, %v", entry, meta, err)
	}
	want := &api.SessionEntry{
		ID: id, Name: "n", Node: "node-a", TTL: "10s", LockDelay: time.Second, Behavior: api.SessionBehaviorDelete,
		Checks: entry.Checks, NodeChecks: []string{"serfHealth"}, CreateIndex: entry.CreateIndex,
	}
	if d := cmp.Diff(want, entry); d != "" {
		t.Errorf("info (-want +got):\n%s", d)
	}
	if renewed, _, err := sessions.Renew(id, nil); err != nil || renewed == nil || renewed.ID != id {
		t.Errorf("renew: got %+v, %v", renewed, err)
	}
	if renewed, _, err := sessions.Renew("00000000-0000-0000-0000-000000000000", nil); err != nil || renewed != nil {
		t.Errorf("renew of an unknown session: got %+v, %v, want neither", renewed, err)
	}
	all, _, err := sessions.List(nil)
	if len(all) != 2 || err != nil {
		t.Errorf("list: got %v, %v", all, err)
	}
	time.AfterFunc(50*time.Millisecond, func() { sessions.Destroy(bare, nil) })
	entry, after, err := sessions.Info(bare, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
	if entry != nil || err != nil || after.LastIndex <= meta.LastIndex {
		t.Errorf("got %+v at %d, %v, want none after %d", entry, after.LastIndex, err, meta.LastIndex)
	}
	done := make(chan struct{})
	close(done)
	if err := sessions.RenewPeriodic("10s", id, nil, done); err != nil {
		t.Errorf("renew until done: %v", err)
	}
	if entry, _, err := sessions.Info(id, nil); entry != nil || err != nil {
		t.Errorf("after that it destroys it: got %+v, %v", entry, err)
	}
}

// Its locks and semaphores work: one holder, three holders, and a loser is told.
func TestClientLock(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.awaitNode()
	c := a.client()
	first, err := c.LockOpts(&api.LockOptions{Key: "lock", SessionTTL: "10s", LockDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.LockOpts(&api.LockOptions{Key: "lock", SessionTTL: "10s", LockDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := first.Lock(nil)
	if err != nil || lost == nil {
		t.Fatalf("lock: got %v", err)
	}
	won := make(chan error, 1)
	go func() {
		_, err := second.Lock(nil)
		won <- err
	}()
	select {
	case err := <-won:
		t.Fatalf("two hold one lock: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	pair, _, err := c.KV().Get("lock", nil)
	if err != nil || pair.LockIndex != 1 {
		t.Fatalf("got %+v, %v, want LockIndex 1", pair, err)
	}
	if _, err := c.Session().Destroy(pair.Session, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Fatal("the holder was not told that its lock is lost")
	}
	if err := <-won; err != nil {
		t.Fatalf("the second cannot take the lost lock: %v", err)
	}
	if pair, _, err = c.KV().Get("lock", nil); err != nil || pair.LockIndex != 2 {
		t.Errorf("got %+v, %v, want LockIndex 2", pair, err)
	}
	if err := second.Unlock(); err != nil {
		t.Error(err)
	}
	if err := second.Destroy(); err != nil {
		t.Error(err)
	}

	var held []*api.Semaphore
	for i := range 4 {
		s, err := c.SemaphoreOpts(&api.SemaphoreOptions{Prefix: "sem", Limit: 3, SemaphoreTryOnce: i == 3, SemaphoreWaitTime: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		channel, err := s.Acquire(nil)
		if err != nil || (channel == nil) != (i == 3) {
			t.Fatalf("holder %d of a semaphore of 3: got %v, %v", i, channel, err)
		}
		held = append(held, s)
	}
	for i, s := range held[:3] {
		if err := s.Release(); err != nil {
			t.Error(fmt.Errorf("release %d: %w", i, err))
		}
	}
}

package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
	"praetor/structs"
)

// The tests below drive the API with Consul's own Go client.

func TestClientKV(t *testing.T) {
	t.Parallel()
	kv := newTestAPI(t, nil).client().KV()

	if _, err := kv.Put(&api.KVPair{Key: "a/b", Value: []byte("v"), Flags: math.MaxUint64}, nil); err != nil {
		t.Fatal(err)
	}
	pair, meta, err := kv.Get("a/b", &api.QueryOptions{RequireConsistent: true})
	if err != nil || pair == nil {
		t.Fatalf("get: %v, %v", pair, err)
	}
	want := &api.KVPair{Key: "a/b", Value: []byte("v"), Flags: math.MaxUint64, CreateIndex: pair.CreateIndex, ModifyIndex: meta.LastIndex}
	if d := cmp.Diff(want, pair); d != "" {
		t.Error(d)
	}
	if !meta.KnownLeader || meta.LastIndex == 0 || meta.DefaultACLPolicy != "allow" {
		t.Errorf("meta: got %+v", meta)
	}
	if missing, meta, err := kv.Get("nope", nil); missing != nil || err != nil || meta.LastIndex == 0 {
		t.Errorf("missing key: got %v, %+v, %v", missing, meta, err)
	}

	stale := *pair
	stale.ModifyIndex--
	if ok, _, err := kv.CAS(&stale, nil); ok || err != nil {
		t.Errorf("stale CAS: got %t, %v", ok, err)
	}
	fresh := *pair
	fresh.Value = []byte("other")
	if ok, _, err := kv.CAS(&fresh, nil); !ok || err != nil {
		t.Errorf("CAS: got %t, %v", ok, err)
	}
	kv.Put(&api.KVPair{Key: "a/c/d"}, nil)
	keys, _, err := kv.Keys("a/", "/", nil)
	if d := cmp.Diff([]string{"a/b", "a/c/"}, keys); d != "" || err != nil {
		t.Errorf("keys: %s, %v", d, err)
	}
	pairs, _, err := kv.List("a/", &api.QueryOptions{AllowStale: true, MaxAge: time.Second, UseCache: true})
	if len(pairs) != 2 || err != nil {
		t.Errorf("list: got %v, %v", pairs, err)
	}
	if _, err := kv.DeleteTree("a/c", nil); err != nil {
		t.Error(err)
	}
	if ok, _, err := kv.DeleteCAS(pair, nil); ok || err != nil {
		t.Errorf("stale delete: got %t, %v", ok, err)
	}
	if _, _, err := kv.Get("x", &api.QueryOptions{Datacenter: "nope"}); err == nil || !strings.Contains(err.Error(), "No path to datacenter") {
		t.Errorf("unknown datacenter: got %v", err)
	}
	if _, _, err := kv.Acquire(&api.KVPair{Key: "l", Session: "s"}, nil); err == nil || !strings.Contains(err.Error(), `500 (raft apply failed: invalid session "s")`) {
		t.Errorf("acquire: got %v", err)
	}
}

func TestClientBlocks(t *testing.T) {
	t.Parallel()
	kv := newTestAPI(t, nil).client().KV()
	_, meta, err := kv.Get("k", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		kv.Put(&api.KVPair{Key: "k", Value: []byte("now")}, nil)
	}()
	pair, after, err := kv.Get("k", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
	if err != nil || pair == nil || string(pair.Value) != "now" || after.LastIndex <= meta.LastIndex {
		t.Errorf("got %v, %+v, %v", pair, after, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := kv.Get("k", (&api.QueryOptions{WaitIndex: after.LastIndex}).WithContext(ctx)); err == nil {
		t.Error("a cancelled wait: got no error")
	}
}

func TestClientStatusAndAgent(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, func(r *config.Runtime) { r.NodeMeta = map[string]string{"rack": "7"} })
	c := a.client()
	rpcAddr := a.agent.server.Addr()
	if leader, err := c.Status().Leader(); leader != rpcAddr || err != nil {
		t.Errorf("leader: got %q, %v, want %q", leader, err, rpcAddr)
	}
	if peers, err := c.Status().Peers(); len(peers) != 1 || peers[0] != rpcAddr || err != nil {
		t.Errorf("peers: got %v, %v", peers, err)
	}

	self, err := c.Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	for section, wants := range map[string]map[string]any{
		"Config": {"NodeName": "node-a", "Datacenter": "dc1", "Server": true, "Version": "1.2.3"},
		"Member": {"Name": "node-a", "Status": 1.0},
		"Meta":   {"rack": "7"},
		"DebugConfig": {
			"Encrypt": "hidden", "NodeName": "node-a",
			"SerfAdvertiseAddrLAN": "tcp://127.0.0.1:" + portOf(a.agent),
		},
	} {
		for name, want := range wants {
			if got := self[section][name]; got != want {
				t.Errorf("self: %s.%s: got %v, want %v", section, name, got, want)
			}
		}
	}
	stats := self["Stats"]
	if got := stats["consul"].(map[string]any)["leader"]; got != "true" {
		t.Errorf("self: Stats.consul.leader: got %v", got)
	}
	for _, section := range []string{"agent", "build", "raft", "runtime", "serf_lan", "verify"} {
		if stats[section] == nil {
			t.Errorf("self: Stats has no %s", section)
		}
	}
	if len(self["Coord"]["Vec"].([]any)) != 8 {
		t.Errorf("self: Coord: got %v", self["Coord"])
	}

	members, err := c.Agent().Members(false)
	if err != nil || len(members) != 1 || members[0].Name != "node-a" || members[0].Status != 1 || members[0].Tags["role"] != "consul" {
		t.Errorf("members: got %v, %v", members, err)
	}
	if host, err := c.Agent().Host(); err != nil || host["CollectionTime"] == nil || host["Memory"] == nil || host["CPU"] == nil {
		t.Errorf("host: got %v, %v", host, err)
	}
	if err := c.Agent().Join("127.0.0.1:1", false); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("join of nobody: got %v", err)
	}
	if err := c.Agent().ForceLeavePrune("node-a"); err != nil {
		t.Error(err)
	}
	if version, err := c.Agent().Version(); err != nil || version["HumanVersion"] != "1.2.3" {
		t.Errorf("version: got %v, %v", version, err)
	}
}

func TestClientLeave(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	if err := a.client().Agent().Leave(); err != nil {
		t.Fatal(err)
	}
	if err := a.agent.Wait(); err != nil {
		t.Error(err)
	}
}

func portOf(a *Agent) string {
	member := a.server.LocalMember()
	_, port, _ := net.SplitHostPort((&net.UDPAddr{IP: member.Addr, Port: int(member.Port)}).String())
	return port
}

func TestClientMonitor(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	stop := make(chan struct{})
	defer close(stop)
	lines, err := a.client().Agent().Monitor("debug", stop, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.agent.logger.Debug("hello")
	if line := <-lines; !strings.Contains(line, "[DEBUG] hello") {
		t.Errorf("got %q", line)
	}
}

func TestClientOperator(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	operator := a.client().Operator()
	raft, err := operator.RaftGetConfiguration(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(raft.Servers) != 1 || raft.Servers[0].Node != "node-a" || !raft.Servers[0].Leader || !raft.Servers[0].Voter || raft.Servers[0].ProtocolVersion != "3" {
		t.Errorf("raft configuration: got %+v", raft.Servers[0])
	}
	if _, err := operator.RaftLeaderTransfer("", nil); err == nil || !strings.Contains(err.Error(), "cannot find peer") {
		t.Errorf("transfer: got %v", err)
	}

	// A server that does not vote comes, gets no vote, and goes.
	if got := a.do("PUT", "/v1/operator/raft/peer?id=other&address=127.0.0.1:1&non_voter=true", ""); got.status != 200 {
		t.Errorf("add peer: got %d %s", got.status, got.body)
	}
	if raft, err := operator.RaftGetConfiguration(nil); err != nil || len(raft.Servers) != 2 || raft.Servers[1].Voter {
		t.Errorf("with a second server: got %v, %v", raft, err)
	}
	if err := operator.RaftRemovePeerByID("other", nil); err != nil {
		t.Error(err)
	}

	before, err := operator.AutopilotGetConfiguration(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !before.CleanupDeadServers || before.LastContactThreshold.Duration() != 200*time.Millisecond {
		t.Errorf("autopilot: got %+v", before)
	}
	after := *before
	after.CleanupDeadServers = false
	after.LastContactThreshold = nil // the client sends null
	after.ModifyIndex = 1
	if ok, err := operator.AutopilotCASConfiguration(&after, nil); ok || err != nil {
		t.Errorf("stale CAS: got %t, %v", ok, err)
	}
	after.ModifyIndex = before.ModifyIndex
	if ok, err := operator.AutopilotCASConfiguration(&after, nil); !ok || err != nil {
		t.Errorf("CAS: got %t, %v", ok, err)
	}
	if got, err := operator.AutopilotGetConfiguration(nil); err != nil || got.CleanupDeadServers || got.MaxTrailingLogs != before.MaxTrailingLogs {
		t.Errorf("autopilot after CAS: got %+v, %v", got, err)
	}
	if got := a.do("PUT", "/v1/operator/autopilot/configuration", `{"MaxTrailingLogs":7}`); got.body != "true" {
		t.Errorf("autopilot PUT: got %s", got.body)
	}
	if got, err := operator.AutopilotGetConfiguration(nil); err != nil || !got.CleanupDeadServers || got.MaxTrailingLogs != 7 {
		t.Errorf("autopilot after PUT: got %+v, %v", got, err)
	}
}

func TestClientSnapshot(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "then")
	c := a.client()
	archive, meta, err := c.Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	saved, err := io.ReadAll(archive)
	archive.Close()
	if err != nil || meta.LastIndex == 0 || !meta.KnownLeader {
		t.Fatalf("save: %+v, %v", meta, err)
	}
	a.put("k", "now")
	index := a.do("GET", "/v1/kv/k", "").header.Get("X-Consul-Index")
	woken := make(chan reply)
	go func() { woken <- a.do("GET", "/v1/kv/k?raw&wait=1m&index="+index, "") }()
	time.Sleep(20 * time.Millisecond)

	if err := c.Snapshot().Restore(nil, bytes.NewReader(saved[:len(saved)-5])); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("restore of a torn archive: got %v", err)
	}
	if err := c.Snapshot().Restore(nil, bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	if got := <-woken; got.body != "then" {
		t.Errorf("a waiting query after the restore: got %q, want then", got.body)
	}
	if got := a.do("GET", "/v1/snapshot?stale", ""); got.status != 200 || got.header.Get("Content-Type") != "application/x-gzip" {
		t.Errorf("stale snapshot: got %d %v", got.status, got.header)
	}
}

// A snapshot that breaks off must not look whole.
func TestBrokenSnapshot(t *testing.T) {
	t.Parallel()
	broken := func(n int64) io.Reader {
		return io.MultiReader(io.LimitReader(zeros{}, n), iotest.ErrReader(errors.New("the disk is gone")))
	}
	length := int64(100 << 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &exchange{Agent: &Agent{logger: hclog.NewNullLogger(), config: &config.Runtime{}}, w: w, r: r, dated: true}
		if err := c.sendArchive(broken(length), &structs.QueryMeta{}); err != nil {
			c.fail(err)
		}
	}))
	defer server.Close()
	r, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if n, err := io.Copy(io.Discard, r.Body); err == nil {
		t.Errorf("read %d bytes without an error", n)
	}

	length = 0
	if r, err = http.Get(server.URL); err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if text, _ := io.ReadAll(r.Body); r.StatusCode != 500 || string(text) != "the disk is gone" {
		t.Errorf("broken from the start: got %d %s", r.StatusCode, text)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Errors choose their status by their code alone.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for code := structs.Internal; code <= structs.DiskFull; code++ {
		want := 500
		switch code {
		case structs.TooLarge:
			want = 413
		case structs.Busy:
			want = 429
		case structs.Unsupported:
			want = 501
		case structs.Fenced:
			want = 409
		case structs.DiskFull:
			want = 507
		}
		if got := statusOf(structs.Errorf(code, "x")); got != want {
			t.Errorf("code %d: got %d, want %d", code, got, want)
		}
	}
}

package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"praetor/agent/config"
)

// txnIndexes finds the indexes of rows and reads.
var txnIndexes = regexp.MustCompile(`((?:Create|Modify|")Index)":[1-9][0-9]*`)

// textIndexes finds an index in the text of an error.
var textIndexes = regexp.MustCompile(`index [1-9][0-9]*`)

// readMeta is what the answer to a transaction that only reads ends with.
const readMeta = `,"Index":*,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`

func TestTxn(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "v")
	for _, test := range []struct {
		ops    string
		status int
		body   string // * stands for a number
	}{
		{`[{"KV":{"Verb":"set","Key":"t/a","Value":"aGVsbG8=","Flags":7}},{"KV":{"Verb":"get","Key":"t/a"}}]`, 200,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"t/a","Flags":7,"Value":null,"CreateIndex":*,"ModifyIndex":*}},` +
				`{"KV":{"LockIndex":0,"Key":"t/a","Flags":7,"Value":"aGVsbG8=","CreateIndex":*,"ModifyIndex":*}}],"Errors":null}`},
		{`[{"KV":{"Verb":"get","Key":"k"}}]`, 200,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"k","Flags":0,"Value":"dg==","CreateIndex":*,"ModifyIndex":*}}],"Errors":null` + readMeta},
		{`[{"KV":{"Verb":"get","Key":"t/nope"}}]`, 409,
			`{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"t/nope\" doesn't exist"}]` + readMeta},
		{`[{"KV":{"Verb":"delete","Key":"k"}},{"KV":{"Verb":"cas","Key":"k","Index":9}},{"KV":{"Verb":"check-index","Key":"t/a"}},{"KV":{"Verb":"get","Key":"k"}}]`, 409,
			`{"Results":null,"Errors":[{"OpIndex":1,"What":"failed to set key \"k\", index is stale"},` +
				`{"OpIndex":2,"What":"failed index check for key \"t/a\", current modify index * != 0"},` +
				`{"OpIndex":3,"What":"key \"k\" doesn't exist"}]}`},
		{`[{"KV":{"Verb":"delete-tree","Key":"t/"}}]`, 200, `{"Results":[],"Errors":null}`},
		{`[{"KV":{"Verb":"get-tree","Key":"t/"}}]`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[{"kv":{"verb":"check-not-exists","KEY":"t/a"}}]`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[{"KV":{"Verb":"check-not-exists","Key":"k"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"k\" exists"}]` + readMeta},
		{`[{"Node":{"Verb":"set","Node":{"Node":"n","Address":"1.1.1.1","Meta":{"a":"b"}}}},` +
			`{"Service":{"Verb":"set","Node":"n","Service":{"Service":"web","Port":80,"Tags":["x"],"Weights":{"Passing":0,"Warning":0},"Namespace":"","ContentHash":""}}},` +
			`{"check":{"verb":"set","check":{"node":"n","checkid":"c","ServiceID":"web","status":"passing","Definition":{"TCP":"1.1.1.1:80","Interval":"5s","TimeoutDuration":7000000000}}}}]`, 200,
			`{"Results":[{"Node":{"ID":"","Node":"n","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":{"a":"b"},"CreateIndex":*,"ModifyIndex":*}},` +
				`{"Service":{"ID":"web","Service":"web","Tags":["x"],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,` +
				`"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":*,"ModifyIndex":*}},` +
				`{"Check":{"Node":"n","CheckID":"c","Name":"","Status":"passing","Notes":"","Output":"","ServiceID":"web","ServiceName":"web","ServiceTags":["x"],` +
				`"Type":"tcp","Interval":"","Timeout":"","ExposedPort":0,"Definition":{"TCP":"1.1.1.1:80","Interval":"5s","Timeout":"7s"},"CreateIndex":*,"ModifyIndex":*}}],"Errors":null}`},
		{`[{"Node":{"Verb":"get","Node":{"Node":"nope"}}},{"Service":{"Verb":"get","Node":"n","Service":{"ID":"nope"}}},{"Check":{"Verb":"get","Check":{"Node":"n","CheckID":"nope"}}}]`, 409,
			`{"Results":null,"Errors":[{"OpIndex":0,"What":"node \"nope\" doesn't exist"},{"OpIndex":1,"What":"service \"nope\" on node \"n\" doesn't exist"},` +
				`{"OpIndex":2,"What":"check \"nope\" on node \"n\" doesn't exist"}]` + readMeta},
		{`[{"Check":{"Verb":"delete","Check":{"Node":"n","CheckID":"c"}}},{"Service":{"Verb":"delete","Node":"n","Service":{"ID":"web"}}},{"Node":{"Verb":"delete","Node":{"Node":"n"}}}]`, 200,
			`{"Results":[],"Errors":null}`},
		{`[{"Session":{"Verb":"delete","Session":{"ID":"nobody","Behavior":"release","Anything":1}}}]`, 200, `{"Results":[],"Errors":null}`},
		{`[{"Session":{"Verb":"delete","Session":{}}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"Missing session ID"}]}`},
		{`[{"KV":{"Verb":"check-fence","Key":"k","Index":3}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"fenced: the lock on key \"k\" is not held"}]` + readMeta},
		{`[{"KV":{"Verb":"lock","Key":"k"}},{"KV":{"Verb":"lock","Key":"k","Session":"nobody"}},{"KV":{"Verb":"unlock","Key":"k","Session":"x"}}]`, 409,
			`{"Results":null,"Errors":[{"OpIndex":0,"What":"missing session"},{"OpIndex":1,"What":"invalid session \"nobody\""},` +
				`{"OpIndex":2,"What":"failed to unlock key \"k\", lock isn't held, or is held by another session"}]}`},
		{`[{"KV":{"Verb":"set","Key":"brief","TTL":"30s"}},{"KV":{"Verb":"delete","Key":"brief"}}]`, 200,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"brief","Flags":0,"Value":null,"CreateIndex":*,"ModifyIndex":*,"TTL":"30s"}}],"Errors":null}`},
		{`[{"KV":{"Verb":"set","Key":"brief","TTL":"1ms"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"Invalid key TTL '1ms', must be between [1s=8784h0m0s]"}]}`},
		{`[{"Node":{"Verb":"set","Node":{"Nope":1}}}]`, 400, `Failed to parse body: json: unknown field "Nope"`},
		{`[{"Check":{"Verb":"set","Check":{"Definition":{"Nope":1}}}}]`, 400, `Failed to parse body: json: unknown field "Nope"`},
		{`[]`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[{}]`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[null,null]`, 400, `Failed to parse body: operation 0 is null`},
		{`[{},null]`, 400, `Failed to parse body: operation 1 is null`},
		{`null`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[{},{"KV":{"Verb":"bogus","Key":"k"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":1,"What":"unknown KV operation: bogus"}]` + readMeta},
		{`[{"KV":{"Verb":"expire","Key":"k"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown KV operation: expire"}]` + readMeta},
		{`[{"KV":{"Verb":"set","Key":"k"}},{"KV":{}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":1,"What":"unknown KV operation: "}]}`},
		{`[{"KV":{"Verb":"set"}},{"KV":{"Verb":"get"}}]`, 409,
			`{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide key"},{"OpIndex":1,"What":"Must provide key"}]}`},
		{`[{"Intention":{"Op":"create"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"Praetor has no service mesh, so no intentions"}]` + readMeta},
		{`[{"KV":{"Verb":"get","Key":"k","Namespace":"a"}}]`, 400, `Invalid field: "Namespace" - Namespaces are a Consul Enterprise feature`},
		{`[{"Check":{"Verb":"get","Check":{"Partition":"a"}}}]`, 400, `Invalid field: "Partition" - Partitions are a Consul Enterprise feature`},
		{`[{"KV":{"Verb":"get","Key":"nope","Namespace":"default"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"nope\" doesn't exist"}]` + readMeta},
		{``, 400, `Failed to parse body: EOF`},
		{`[`, 400, `Failed to parse body: unexpected EOF`},
		{`[] 1`, 400, `Failed to parse body: there is more behind the list of operations`},
		{`{}`, 400, `Failed to parse body: json: cannot unmarshal object into Go value of type []*agent.txnJSON`},
		{`[{"Nope":{}}]`, 400, `Failed to parse body: json: unknown field "Nope"`},
		{`[{"KV":{"Nope":1}}]`, 400, `Failed to parse body: json: unknown field "Nope"`},
		{`[{"KV":{"Verb":"set","Key":"k","Value":"%"}}]`, 400, `Failed to parse body: illegal base64 data at input byte 0`},
		{`[{"KV":{"Verb":"set","Key":"k","TTL":"soon"}}]`, 400, `Failed to parse body: time: invalid duration "soon"`},
	} {
		got := a.do("PUT", "/v1/txn", test.ops)
		text := textIndexes.ReplaceAllString(txnIndexes.ReplaceAllString(got.body, `$1":*`), "index *")
		if got.status != test.status || text != test.body {
			t.Errorf("%s:\ngot  %d %s\nwant %d %s", test.ops, got.status, text, test.status, test.body)
		}
	}
	if got := a.do("GET", "/v1/kv/k?raw", "").body; got != "v" {
		t.Errorf("k is %q after all that failed, want %q", got, "v")
	}
}

// A transaction that only reads is a read: it says how fresh it is and may be
// as stale or as fresh as it asks to be. It has no index to wait for.
func TestTxnReadHeaders(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "v")
	for _, query := range []string{"", "?stale", "?consistent", "?index=100000&wait=1m", "?dc=dc1"} {
		got := a.do("PUT", "/v1/txn"+query, `[{"KV":{"Verb":"get","Key":"k"}}]`)
		if got.status != 200 || got.header.Get("X-Consul-Knownleader") != "true" || got.header.Get("X-Consul-Lastcontact") != "0" || got.header["X-Consul-Index"] != nil {
			t.Errorf("%q: got %d %v", query, got.status, got.header)
		}
	}
	got := a.do("PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"k"}}]`)
	if got.status != 200 || got.header["X-Consul-Knownleader"] != nil || got.header["X-Consul-Index"] != nil || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("a write: got %d %v", got.status, got.header)
	}
	for query, want := range map[string]string{
		"?stale&consistent": "400 Cannot specify ?stale with ?consistent, conflicting semantics.",
		"?dc=nowhere":       "500 No path to datacenter",
	} {
		got := a.do("PUT", "/v1/txn"+query, `[]`)
		if text := fmt.Sprintf("%d %s", got.status, got.body); text != want {
			t.Errorf("%q: got %q, want %q", query, text, want)
		}
	}
}

// The limits have their status and their names, and nothing that is over one
// changes anything.
func TestTxnLimits(t *testing.T) {
	t.Parallel()
	set := func(key string, size int) string {
		text, err := json.Marshal(map[string]any{"KV": map[string]any{"Verb": "set", "Key": key, "Value": make([]byte, size)}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	many := func(n int) string {
		return "[" + strings.Repeat(`{"KV":{"Verb":"set","Key":"k"}},`, n-1) + set("k", 1) + "]"
	}
	for _, test := range []struct {
		name               string
		maxValue, max, ops int
		body               string
		want               string // "" for none
	}{
		{"as many as may be", 1000, 512 << 10, 128, many(128), ""},
		{"too many", 1000, 512 << 10, 128, many(129), "Transaction contains too many operations (129 > 128). See limits.txn_max_ops."},
		{"more may be", 1000, 512 << 10, 200, many(200), ""},
		{"a large value", 1000, 4000, 128, "[" + set("k", 1001) + "]", `Value for key "k" is too large (1001 > 1000 bytes). See limits.kv_max_value_size.`},
		{"as large as may be", 1000, 4000, 128, "[" + set("k", 1000) + "]", ""},
		{"a large body", 1000, 4000, 128, "[" + set("k", 1000) + strings.Repeat(" ", 4000) + "]",
			"Request body(5380 bytes) too large, max size: 4000 bytes. See limits.txn_max_req_len."},
		{"the larger one counts", 8000, 4000, 128, "[" + set("k", 5000) + "]", ""},
		{"the larger one is too small", 8000, 4000, 128, "[" + set("k", 8000) + "]",
			"Request body(10712 bytes) too large, max size: 8000 bytes. See limits.txn_max_req_len."},
	} {
		a := newTestAPI(t, func(r *config.Runtime) {
			r.Limits.KVMaxValueSize, r.Limits.TxnMaxReqLen, r.Limits.TxnMaxOps = test.maxValue, test.max, test.ops
		})
		r, err := http.NewRequest("PUT", a.listen().URL+"/v1/txn", bytes.NewBufferString(test.body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(got.Body)
		got.Body.Close()
		there := a.do("GET", "/v1/kv/k", "").status == 200
		if test.want == "" {
			if got.StatusCode != 200 || !there {
				t.Errorf("%s: got %d %s, want it done", test.name, got.StatusCode, text)
			}
		} else if got.StatusCode != 413 || string(text) != test.want || !got.Close || there {
			t.Errorf("%s: got %d %s, connection closes: %t, key is there: %t, want 413 %s", test.name, got.StatusCode, text, got.Close, there, test.want)
		}
	}
}

// The official client understands all of it.
func TestTxnOfficialClient(t *testing.T) {
	t.Parallel()
	c := newTestAPI(t, nil).client()
	ok, reply, _, err := c.KV().Txn(api.KVTxnOps{
		{Verb: api.KVSet, Key: "k", Value: []byte("v"), Flags: 7},
		{Verb: api.KVGet, Key: "k"},
	}, nil)
	if err != nil || !ok || len(reply.Results) != 2 || reply.Results[0].Value != nil || string(reply.Results[1].Value) != "v" || reply.Errors != nil {
		t.Errorf("got %v, %+v, %v", ok, reply, err)
	}
	ok, all, _, err := c.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVGet, Key: "nope"}}}, nil)
	if err != nil || ok || len(all.Errors) != 1 || all.Errors[0].What != `key "nope" doesn't exist` {
		t.Errorf("got %v, %+v, %v", ok, all, err)
	}
	ok, all, meta, err := c.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVGet, Key: "k"}}}, &api.QueryOptions{AllowStale: true})
	if err != nil || !ok || string(all.Results[0].KV.Value) != "v" || !meta.KnownLeader {
		t.Errorf("got %v, %+v, %+v, %v", ok, all, meta, err)
	}
}

// The official client's locks, nodes, services, checks and sessions in one
// transaction, and back as it knows them.
func TestTxnOfficialClientCatalog(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	c := a.client()
	registration := &api.CatalogRegistration{
		ID: "11111111-2222-3333-4444-555555555555", Node: "foo", Address: "2.2.2.2", NodeMeta: map[string]string{"n1": "v1"},
		Service: &api.AgentService{ID: "foo1", Service: "foo", Port: 12345, Tags: []string{"a"}},
		Checks: api.HealthChecks{{CheckID: "bar", Status: "critical", Definition: api.HealthCheckDefinition{
			TCP: "1.1.1.1", IntervalDuration: 5 * time.Second, TimeoutDuration: 10 * time.Second,
		}}},
	}
	if _, err := c.Catalog().Register(registration, nil); err != nil {
		t.Fatal(err)
	}
	id, _, err := c.Session().CreateNoChecks(&api.SessionEntry{Node: "foo"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ops := api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVLock, Key: "k", Value: []byte("v")}},
		{KV: &api.KVTxnOp{Verb: api.KVGet, Key: "k"}},
		{Node: &api.NodeTxnOp{Verb: api.NodeGet, Node: api.Node{Node: "foo"}}},
		{Service: &api.ServiceTxnOp{Verb: api.ServiceGet, Node: "foo", Service: api.AgentService{ID: "foo1"}}},
		{Check: &api.CheckTxnOp{Verb: api.CheckGet, Check: api.HealthCheck{Node: "foo", CheckID: "bar"}}},
		{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: "foo", Service: api.AgentService{ID: "foo2", Service: "foo"}}},
		{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{
			Node: "foo", CheckID: "baz", Status: "passing", ServiceID: "foo2", Definition: api.HealthCheckDefinition{HTTP: "http://x", TimeoutDuration: time.Second},
		}}},
	}
	ok, reply, _, err := c.Txn().Txn(ops, nil)
	if err != nil || ok || len(reply.Errors) != 2 || reply.Errors[0].What != "missing session" || reply.Errors[1].What != `key "k" doesn't exist` {
		t.Fatalf("without a session: got %v, %+v, %v", ok, reply, err)
	}
	ops[0].KV.Session = id
	ok, reply, _, err = c.Txn().Txn(ops, nil)
	if err != nil || !ok || len(reply.Results) != len(ops) {
		t.Fatalf("got %v, %+v, %v", ok, reply, err)
	}
	for i, row := range reply.Results[:2] {
		if row.KV.Session != id || row.KV.LockIndex != 1 || (string(row.KV.Value) == "v") != (i == 1) {
			t.Errorf("row %d: got %+v", i, row.KV)
		}
	}
	if n := reply.Results[2].Node; n.ID != registration.ID || n.Datacenter != "dc1" || n.Meta["n1"] != "v1" {
		t.Errorf("got node %+v", n)
	}
	want := &api.AgentService{
		ID: "foo1", Service: "foo", Port: 12345, Tags: []string{"a"}, Weights: api.AgentWeights{Passing: 1, Warning: 1},
		Proxy: &api.AgentServiceConnectProxyConfig{}, Connect: &api.AgentServiceConnect{},
		CreateIndex: reply.Results[3].Service.CreateIndex, ModifyIndex: reply.Results[3].Service.ModifyIndex,
	}
	if diff := cmp.Diff(want, reply.Results[3].Service); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
	check := reply.Results[4].Check
	wantCheck := &api.HealthCheck{
		Node: "foo", CheckID: "bar", Status: "critical", Type: "tcp", CreateIndex: check.CreateIndex, ModifyIndex: check.ModifyIndex,
		Definition: api.HealthCheckDefinition{
			TCP: "1.1.1.1", IntervalDuration: 5 * time.Second, Interval: api.ReadableDuration(5 * time.Second),
			TimeoutDuration: 10 * time.Second, Timeout: api.ReadableDuration(10 * time.Second),
		},
	}
	if diff := cmp.Diff(wantCheck, check); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
	healthy, _, err := c.Health().Service("foo", "", false, nil)
	if err != nil || len(healthy) != 2 || healthy[1].Checks.AggregatedStatus() != "critical" {
		t.Errorf("got %+v, %v", healthy, err)
	}
	remove := fmt.Sprintf(`[{"Session":{"Verb":"delete","Session":{"ID":%q}}},{"KV":{"Verb":"get","Key":"k"}}]`, id)
	if got := a.do("PUT", "/v1/txn", remove); got.status != 200 || strings.Contains(got.body, id) {
		t.Errorf("got %d %s, want the key without its lock", got.status, got.body)
	}
	if got, _, err := c.Session().Info(id, nil); got != nil || err != nil {
		t.Errorf("got session %+v, %v, want none", got, err)
	}
}

// What the HTTP API lets through by its size is not too large for the server:
// what the server counts is never more than the JSON.
func TestTxnSizeIsOneLimit(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]string{
		"empty keys":   `{"KV":{"Verb":"get-or-empty","Key":"k"}}`,
		"escapes":      `{"KV":{"Verb":"get-or-empty","Key":"äöü<>&"}}`,
		"values":       `{"KV":{"Verb":"get-or-empty","Key":"k","Value":"AAAA"}}`,
		"empty tags":   `{"Service":{"Verb":"get","Node":"n","Service":{"ID":"s","Tags":["","","",""]}}}`,
		"empty maps":   `{"Node":{"Verb":"get","Node":{"Node":"n","Meta":{"":"","a":""},"TaggedAddresses":{"a":""}}}}`,
		"small maps":   `{"Service":{"Verb":"get","Node":"n","Service":{"ID":"s","TaggedAddresses":{"":{},"a":{}}}}}`,
		"a definition": `{"Check":{"Verb":"get","Check":{"Node":"n","CheckID":"c","Definition":{"Header":{"":[""],"a":[]},"ScriptArgs":["","a"]}}}}`,
		"mesh":         `{"Service":{"Verb":"get","Node":"n","Service":{"ID":"s","Proxy":{"Config":{"a":[1,2,{"b":[]}],"c":null},"Upstreams":[{},{}]}}}}`,
	} {
		body := "[" + op + "]"
		a := newTestAPI(t, func(r *config.Runtime) { r.Limits.KVMaxValueSize, r.Limits.TxnMaxReqLen = 1, len(body) })
		if name == "values" {
			a = newTestAPI(t, func(r *config.Runtime) { r.Limits.KVMaxValueSize, r.Limits.TxnMaxReqLen = 3, len(body) })
		}
		if got := a.do("PUT", "/v1/txn", body); got.status != 200 && got.status != 409 {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
}

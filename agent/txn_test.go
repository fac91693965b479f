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
		{`[]`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[{}]`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[null,null]`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`null`, 200, `{"Results":[],"Errors":null` + readMeta},
		{`[{},{"KV":{"Verb":"bogus","Key":"k"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":1,"What":"unknown KV operation: bogus"}]` + readMeta},
		{`[{"KV":{"Verb":"expire","Key":"k"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown KV operation: expire"}]` + readMeta},
		{`[{"KV":{"Verb":"set","Key":"k"}},{"KV":{}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":1,"What":"unknown KV operation: "}]}`},
		{`[{"KV":{"Verb":"set"}},{"KV":{"Verb":"get"}}]`, 409,
			`{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide key"},{"OpIndex":1,"What":"Must provide key"}]}`},
		{`[{"Intention":{"Op":"create"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":0,"What":"Praetor has no service mesh, so no intentions"}]` + readMeta},
		{``, 400, `Failed to parse body: EOF`},
		{`[`, 400, `Failed to parse body: unexpected EOF`},
		{`[] 1`, 400, `Failed to parse body: there is more behind the list of operations`},
		{`{}`, 400, `Failed to parse body: json: cannot unmarshal object into Go value of type []agent.txnJSON`},
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

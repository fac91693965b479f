package rpcserver_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/rpcserver"
	"praetor/structs"
)

func kvOp(verb structs.KVOp, key, value string) structs.TxnOp {
	return structs.TxnOp{KV: &structs.TxnKVOp{Verb: verb, DirEnt: structs.DirEntry{Key: key, Value: []byte(value)}}}
}

// What makes no sense whatever the state is comes back as errors of its
// operations, all of them, and nothing is logged; whatever a request holds, the
// connection stands.
func TestTxnPrecheck(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keepWorking(t, s)
	type m = map[string]any
	kv := func(verb, key string) m { return m{"KV": m{"Verb": verb, "DirEnt": m{"Key": key}}} }
	r := dialRPC(t, s)
	for i, test := range []struct {
		ops  []any
		want string // errors; "" for none
		read string // what Txn.Read says, if it is not the same
	}{
		{nil, "", ""},
		{[]any{nil, nil}, "", ""},
		{[]any{m{}, m{"Nope": 1}, m{"KV": nil, "Node": nil}}, "", ""},
		{[]any{kv("bogus", "k")}, "0: unknown KV operation: bogus", ""},
		{[]any{kv("expire", "k"), nil, kv("", "k")}, "0: unknown KV operation: expire, 2: unknown KV operation: ", ""},
		{[]any{kv("get", ""), kv("get-tree", ""), kv("check-index", "")}, "0: Must provide key, 1: Must provide key, 2: Must provide key", ""},
		{[]any{kv("set", ""), kv("delete", "x")}, "0: Must provide key",
			"0: a transaction that only reads cannot do this: send it to Txn.Apply, 1: a transaction that only reads cannot do this: send it to Txn.Apply"},
		{[]any{m{"KV": m{"Verb": "set", "DirEnt": m{"Key": "k"}}, "Node": m{"Verb": "get"}}}, "0: an operation is of one kind only: make one of each", ""},
		{[]any{kv("set", "k"), m{"Intention": m{"Op": "create", "Intention": m{"ID": "x"}}}}, "1: Praetor has no service mesh, so no intentions",
			"0: a transaction that only reads cannot do this: send it to Txn.Apply, 1: Praetor has no service mesh, so no intentions"},
	} {
		for _, method := range []string{"Txn.Apply", "Txn.Read"} {
			var reply structs.TxnReadResponse
			logs := alwaysLogs(s, func() {
				r.send(uint64(i), method, m{"Ops": test.ops, "MinQueryIndex": 1 << 40})
				if got := r.receive(&reply); got.Error != "" {
					t.Errorf("%s %v: got %+v", method, test.ops, got)
				}
			})
			want := test.want
			if method == "Txn.Read" && test.read != "" {
				want = test.read
			}
			if got := wrong(reply.Errors); got != want || reply.Results == nil != (want != "") || len(reply.Results) > 0 {
				t.Errorf("%s %v: got %q and results %v, want %q", method, test.ops, got, reply.Results, want)
			}
			if logs != (want == "" && method == "Txn.Apply") {
				t.Errorf("%s %v: makes an entry in the log: %v", method, test.ops, logs)
			}
			if method == "Txn.Read" && (reply.Index == 0 || !reply.KnownLeader) {
				t.Errorf("%v: got meta %+v", test.ops, reply.QueryMeta)
			}
		}
	}
	for _, junk := range []any{m{"Ops": 1}, m{"Ops": []any{1}}, m{"Ops": []any{m{"KV": "x"}}}, m{"Ops": m{}}, 7} {
		r.send(1, "Txn.Apply", junk)
		if got := r.receive(&structs.TxnResponse{}); got.Error != "" && got.Code != structs.Invalid {
			t.Errorf("%v: got %+v", junk, got)
		}
	}
}

// What a transaction writes to the catalog is held to the rules of a
// registration, and completed as one is.
func TestTxnCatalogPrecheck(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	txn := newClient(t, s).Txn()
	node := func(verb structs.TxnVerb, n structs.Node) structs.TxnOp {
		return structs.TxnOp{Node: &structs.TxnNodeOp{Verb: verb, Node: n}}
	}
	service := func(verb structs.TxnVerb, node string, s structs.NodeService) structs.TxnOp {
		return structs.TxnOp{Service: &structs.TxnServiceOp{Verb: verb, Node: node, Service: s}}
	}
	check := func(verb structs.TxnVerb, c structs.HealthCheck) structs.TxnOp {
		return structs.TxnOp{Check: &structs.TxnCheckOp{Verb: verb, Check: c}}
	}
	session := func(verb structs.TxnVerb, id string) structs.TxnOp {
		return structs.TxnOp{Session: &structs.TxnSessionOp{Verb: verb, Session: structs.Session{ID: id}}}
	}
	ttl := kvOp(structs.KVSet, "k", "")
	ttl.KV.DirEnt.TTL = time.Millisecond
	for _, test := range []struct {
		op   structs.TxnOp
		want string // begins so
	}{
		{node(structs.TxnSet, structs.Node{}), "0: Must provide node"},
		{node(structs.TxnGet, structs.Node{}), "0: Must provide node"},
		{node(structs.TxnDelete, structs.Node{}), "0: Must provide node"},
		{node(structs.TxnCAS, structs.Node{Node: "n", ID: "short"}), "0: Bad node ID: uuid string is wrong length"},
		{node(structs.TxnSet, structs.Node{Node: "n", PeerName: "p"}), "0: cannot register requests with PeerName in them"},
		{node(structs.TxnSet, structs.Node{Node: strings.Repeat("n", 2000)}), "0: the node name has 2000 bytes, more than 1024"},
		{node(structs.TxnSet, structs.Node{Node: "n", Meta: map[string]string{"a b": ""}}), `0: node meta: the key "a b"`},
		{node("lock", structs.Node{Node: "n"}), "0: unknown Node operation: lock"},
		{service(structs.TxnSet, "", structs.NodeService{Service: "s"}), "0: Must provide node"},
		{service(structs.TxnSet, "n", structs.NodeService{ID: "s"}), "0: Must provide service name (Service.Service) when service ID is provided"},
		{service(structs.TxnSet, "n", structs.NodeService{}), "0: Must provide service name (Service.Service)"},
		{service(structs.TxnSet, "n", structs.NodeService{Service: "s", Address: "0.0.0.0"}), "0: Invalid service address"},
		{service(structs.TxnSet, "n", structs.NodeService{Service: "s", Weights: &structs.Weights{Passing: -1}}), "0: Invalid Weights"},
		{service(structs.TxnGet, "", structs.NodeService{ID: "s"}), "0: Must provide node"},
		{service(structs.TxnDeleteCAS, "n", structs.NodeService{}), "0: Must provide service ID (Service.ID)"},
		{service("bogus", "n", structs.NodeService{}), "0: unknown Service operation: bogus"},
		{check(structs.TxnSet, structs.HealthCheck{Name: "c"}), "0: Must provide node"},
		{check(structs.TxnSet, structs.HealthCheck{Node: "n"}), "0: Must provide check name"},
		{check(structs.TxnGet, structs.HealthCheck{CheckID: "c"}), "0: Must provide node"},
		{check(structs.TxnDelete, structs.HealthCheck{Node: "n"}), "0: Must provide check ID (Check.CheckID)"},
		{check(structs.TxnSet, structs.HealthCheck{Node: "n", CheckID: "c", Output: strings.Repeat("x", 70_000)}), `0: the output of check "c" has 70000 bytes`},
		{check("", structs.HealthCheck{Node: "n"}), "0: unknown Check operation: "},
		{session(structs.TxnDelete, ""), "0: Missing session ID"},
		{session(structs.TxnSet, "x"), "0: unknown Session operation: set"},
		{ttl, "0: Invalid key TTL '1ms', must be between [1s=8784h0m0s]"},
	} {
		logs := alwaysLogs(s, func() {
			reply, err := txn.Apply(t.Context(), test.op)
			if got := wrong(reply.Errors); err != nil || !strings.HasPrefix(got, test.want) || reply.Results != nil {
				t.Errorf("%+v: got %q, %v, want %q", test.op, got, err, test.want)
			}
		})
		if logs {
			t.Errorf("%q: makes an entry in the log", test.want)
		}
	}
	reply, err := txn.Apply(t.Context(),
		node(structs.TxnSet, structs.Node{Node: "n"}),
		service(structs.TxnSet, "n", structs.NodeService{Service: "web", Weights: &structs.Weights{}}),
		check(structs.TxnSet, structs.HealthCheck{Node: "n", Name: "alive", Definition: structs.HealthCheckDefinition{HTTP: "http://localhost"}}),
		service(structs.TxnGet, "n", structs.NodeService{Service: "web"}),
		check(structs.TxnGet, structs.HealthCheck{Node: "n", Name: "alive"}),
		session(structs.TxnDelete, "nobody"),
	)
	if err != nil || len(reply.Results) != 5 {
		t.Fatalf("got %+v, %v", reply, err)
	}
	if n := reply.Results[0].Node; n.Datacenter != "dc1" {
		t.Errorf("got node %+v, want it in dc1", n)
	}
	if s := reply.Results[3].Service; s.ID != "web" || *s.Weights != (structs.Weights{Passing: 1, Warning: 1}) {
		t.Errorf("got service %+v", s)
	}
	if c := reply.Results[4].Check; c.CheckID != "alive" || c.Type != "http" || c.Status != structs.HealthCritical {
		t.Errorf("got check %+v", c)
	}
}

// alwaysLogs reports whether f makes an entry in the raft log, and not somebody
// else beside it.
func alwaysLogs(s *rpcserver.Server, f func()) bool {
	for range 5 {
		before := s.Raft().LastIndex()
		if f(); s.Raft().LastIndex() == before {
			return false
		}
	}
	return true
}

func wrong(errors []structs.TxnError) string {
	var texts []string
	for _, e := range errors {
		texts = append(texts, fmt.Sprintf("%d: %s", e.OpIndex, e.What))
	}
	return strings.Join(texts, ", ")
}

// The limits hold over RPC too. Their errors name them, and nothing is done.
func TestTxnLimits(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *rpcserver.Config) { c.KVMaxValueSize, c.TxnMaxReqLen = 1000, 4000 })
	keepWorking(t, s)
	txn, kv := newClient(t, s).Txn(), newClient(t, s).KV()
	large := strings.Repeat("x", 1000)
	repeat := func(n int, op structs.TxnOp) (ops []structs.TxnOp) {
		for range n {
			ops = append(ops, op)
		}
		return ops
	}
	check := func(name string, ops []structs.TxnOp, want string) {
		t.Helper()
		_, err := txn.Apply(t.Context(), ops...)
		_, readErr := txn.Read(t.Context(), nil, ops...)
		if want == "" {
			if err != nil || readErr != nil {
				t.Errorf("%s: got %v and %v, want it done", name, err, readErr)
			}
			return
		}
		for _, err := range []error{err, readErr} {
			if !structs.IsCode(err, structs.TooLarge) || err.Error() != want {
				t.Errorf("%s: got %v, want %s", name, err, want)
			}
		}
		if entry, _, err := kv.Get(t.Context(), "k", nil); entry != nil || err != nil {
			t.Errorf("%s: got %v, %v, want nothing", name, entry, err)
		}
	}
	check("operations", repeat(129, kvOp(structs.KVSet, "k", "v")), "Transaction contains too many operations (129 > 128). See limits.txn_max_ops.")
	check("empty operations", repeat(129, structs.TxnOp{}), "Transaction contains too many operations (129 > 128). See limits.txn_max_ops.")
	check("a value", []structs.TxnOp{kvOp(structs.KVSet, "other", "v"), kvOp(structs.KVSet, "k", large+"x")},
		`Value for key "k" is too large (1001 > 1000 bytes). See limits.kv_max_value_size.`)
	check("values", repeat(4, kvOp(structs.KVSet, "k", large)), "Transaction is too large (4016 > 4000 bytes). See limits.txn_max_req_len.")
	check("keys", repeat(5, kvOp(structs.KVSet, large, "")), "Transaction is too large (5015 > 4000 bytes). See limits.txn_max_req_len.")
	tags := structs.TxnOp{Service: &structs.TxnServiceOp{Verb: structs.TxnSet, Node: "n", Service: structs.NodeService{Tags: make([]string, 5000)}}}
	check("tags", []structs.TxnOp{tags}, "Transaction is too large (5004 > 4000 bytes). See limits.txn_max_req_len.")
	meta := structs.TxnOp{Node: &structs.TxnNodeOp{Verb: structs.TxnSet, Node: structs.Node{Meta: map[string]string{"k": strings.Repeat("x", 5000)}}}}
	check("meta", []structs.TxnOp{meta}, "Transaction is too large (5005 > 4000 bytes). See limits.txn_max_req_len.")
	check("all that is allowed", append(repeat(3, kvOp(structs.KVSet, "k", large)), repeat(125, kvOp(structs.KVSet, "k", ""))...), "")
	s.SetLimits(rpcserver.Limits{KVMaxValueSize: 10000, TxnMaxReqLen: 100, TxnMaxOps: 2})
	if err := kv.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	check("operations after a reload", repeat(3, structs.TxnOp{}), "Transaction contains too many operations (3 > 2). See limits.txn_max_ops.")
	check("the larger of the two limits", []structs.TxnOp{kvOp(structs.KVSet, "k", strings.Repeat("x", 9000))}, "")
}

// A transaction larger than one raft entry goes through in parts, up to the
// limits, and all that the limits allow fits into a request.
func TestTxnLarge(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *rpcserver.Config) { c.TxnMaxReqLen = 4 << 20 })
	txn := newClient(t, s).Txn()
	value := strings.Repeat("x", 512<<10)
	var ops []structs.TxnOp
	for i := range 128 {
		op := kvOp(structs.KVSet, fmt.Sprint("large/", i), "")
		if i < 7 {
			op.KV.DirEnt.Value = []byte(value)
		}
		ops = append(ops, op)
	}
	reply, err := txn.Apply(context.Background(), ops...)
	if err != nil || len(reply.Results) != 128 || reply.Errors != nil {
		t.Fatalf("got %d results, errors %v, %v", len(reply.Results), reply.Errors, err)
	}
	read, err := txn.Read(context.Background(), nil, kvOp(structs.KVGetTree, "large/", ""))
	if err != nil || len(read.Results) != 128 {
		t.Fatalf("got %d results, %v", len(read.Results), err)
	}
	for _, row := range read.Results {
		if i := row.KV.ModifyIndex; i != reply.Results[0].KV.ModifyIndex {
			t.Errorf("%s was written at %d, want all at once", row.KV.Key, i)
		}
	}
	ops = append(ops[:127], kvOp(structs.KVGet, "nope", ""))
	ops[0] = kvOp(structs.KVSet, "large/0", value[1:])
	reply, err = txn.Apply(context.Background(), ops...)
	if err != nil || wrong(reply.Errors) != `127: key "nope" doesn't exist` {
		t.Errorf("got %v, %v", reply.Errors, err)
	}
	again, err := txn.Read(context.Background(), nil, kvOp(structs.KVGetTree, "large/", ""))
	if err != nil || !reflect.DeepEqual(read.Results, again.Results) {
		t.Errorf("a large transaction that failed left something: %v", err)
	}
}

// The bytes of a transaction in the log and on the wire are Consul's.
func TestTxnGolden(t *testing.T) {
	t.Parallel()
	entry, err := structs.EncodeCommand(&structs.TxnRequest{Datacenter: "dc1", Ops: []structs.TxnOp{kvOp(structs.KVGet, "k", "")}})
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, `08 83 aa 4461746163656e746572 a3 646331 a3 4f7073 91
		86 a5 436865636b c0 a9 496e74656e74696f6e c0
		a2 4b56 82 a6 446972456e74 87 ab 437265617465496e646578 00 a5 466c616773 00 a3 4b6579 a1 6b
			a9 4c6f636b496e646578 00 ab 4d6f64696679496e646578 00 a7 53657373696f6e a0 a5 56616c7565 a0
			a4 56657262 a3 676574
		a4 4e6f6465 c0 a7 53657276696365 c0 a7 53657373696f6e c0
		a5 546f6b656e a0`)
	if !bytes.Equal(entry, want) {
		t.Errorf("got  %x\nwant %x", entry, want)
	}
	s := startServer(t)
	r := dialRPC(t, s)
	r.send(1, "Txn.Read", map[string]any{"Ops": []any{map[string]any{"KV": map[string]any{"Verb": "get", "DirEnt": map[string]any{"Key": "k"}}}}})
	var reply map[string]any
	r.receive(&reply)
	delete(reply, "Index")
	if diff := cmp.Diff(map[string]any{
		"Results": nil, "Errors": []any{map[string]any{"OpIndex": int64(0), "What": `key "k" doesn't exist`}},
		"Backend": int64(0), "ConsistencyLevel": "", "KnownLeader": true, "LastContact": int64(0), "NotModified": false, "ResultsFilteredByACLs": false,
		"Epoch": s.Epoch(), // ours
	}, reply); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
}

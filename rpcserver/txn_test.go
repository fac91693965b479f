package rpcserver_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

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
			"0: Must provide key, 1: a transaction that only reads cannot do this: send it to Txn.Apply"},
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
	}, reply); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
}

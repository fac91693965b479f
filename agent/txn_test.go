package agent

import (
	"strings"
	"testing"
)

func TestTxn(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	for _, test := range []struct {
		name, query, ops string
		status           int
		body             string // * stands for a number
	}{
		{"set then get", "", `[{"KV":{"Verb":"set","Key":"t/a","Value":"aGVsbG8=","Flags":7}},{"KV":{"Verb":"get","Key":"t/a"}}]`, 200,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"t/a","Flags":7,"Value":null,"CreateIndex":*,"ModifyIndex":*}},` +
				`{"KV":{"LockIndex":0,"Key":"t/a","Flags":7,"Value":"aGVsbG8=","CreateIndex":*,"ModifyIndex":*}}],"Errors":null}`},
		{"get a missing key", "", `[{"KV":{"Verb":"get","Key":"t/nope"}}]`, 409,
			`{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"t/nope\" doesn't exist"}],"Index":*,"LastContact":0,"KnownLeader":true,` +
				`"ConsistencyLevel":"","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`},
	} {
		got := a.do("PUT", "/v1/txn"+test.query, test.ops)
		if text := indexes.ReplaceAllString(got.body, `Index":*`); got.status != test.status || text != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.name, got.status, text, test.status, strings.TrimSpace(test.body))
		}
	}
}

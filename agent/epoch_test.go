package agent

import (
	"net/http"
	"strconv"
	"testing"

	"praetor/state"
)

// wantRestoredIndex fails unless the state says that what is read last changed
// at an index of its own, and the reply an index that no client is ahead of.
func (a *testAPI) wantRestoredIndex(header http.Header, own uint64, read func(*state.Reader)) {
	a.t.Helper()
	r := a.agent.server.FSM().Store().Read()
	if read(r); r.Index() != own {
		a.t.Errorf("last changed at %d, want %d, as it was in Consul", r.Index(), own)
	}
	floor := r.Epoch().Floor
	if got := header.Get("X-Consul-Index"); floor <= own || got != strconv.FormatUint(floor, 10) {
		a.t.Errorf("index of the reply: got %s, want that of the restore, %d, which is above %d", got, floor, own)
	}
}

// Every reply under /v1 says which epoch it is from, and a restore changes it.
func TestEpochHeader(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "v")
	ask := func() string {
		t.Helper()
		epoch := a.do("GET", "/v1/kv/k", "").header.Get("X-Praetor-Epoch")
		for _, request := range []struct{ method, path, body string }{
			{"GET", "/v1/kv/none", ""}, {"GET", "/v1/kv/k?raw", ""}, {"GET", "/v1/kv/?recurse&stale", ""},
			{"PUT", "/v1/kv/k", "v"}, {"PUT", "/v1/txn", `[{"KV":{"Verb":"get","Key":"k"}}]`},
			{"GET", "/v1/catalog/nodes", ""}, {"GET", "/v1/health/state/any?cached", ""}, {"GET", "/v1/session/list", ""},
			{"GET", "/v1/query", ""}, {"GET", "/v1/coordinate/nodes", ""}, {"GET", "/v1/event/list", ""},
			{"GET", "/v1/agent/self", ""}, {"GET", "/v1/status/leader", ""}, {"GET", "/v1/snapshot", ""},
			{"GET", "/v1/nowhere", ""}, {"PATCH", "/v1/kv/k", ""}, {"PUT", "/v1/session/create", "{"}, {"GET", "/v1/acl/tokens", ""},
		} {
			got := a.do(request.method, request.path, request.body).header["X-Praetor-Epoch"]
			if len(got) != 1 || got[0] != epoch || epoch == "" {
				t.Errorf("%s %s: got epoch %q, want %q", request.method, request.path, got, epoch)
			}
		}
		return epoch
	}
	first := ask()
	archive := a.do("GET", "/v1/snapshot", "").body
	if got := ask(); got != first {
		t.Errorf("the epoch has changed with a save: %s, was %s", got, first)
	}
	restored := a.do("PUT", "/v1/snapshot", archive)
	second := ask()
	if second == first {
		t.Errorf("after the restore the epoch is still %s", first)
	}
	if got := restored.header.Get("X-Praetor-Epoch"); restored.status != 200 || got != second {
		t.Errorf("restore: got %d and epoch %s, want that of the state that it has made, %s", restored.status, got, second)
	}
}

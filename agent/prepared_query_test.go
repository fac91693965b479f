package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"praetor/state"
	"praetor/structs"
	"praetor/testutil"
)

// registerWeb puts three instances of web into the catalog: on a, where it is
// well, on b with a warning, on c in a critical state.
func (a *testAPI) registerWeb() {
	a.t.Helper()
	for i, status := range []string{structs.HealthPassing, structs.HealthWarning, structs.HealthCritical} {
		name := string(rune('a' + i))
		a.log(&structs.RegisterRequest{
			Node: name, Address: fmt.Sprintf("10.0.0.%d", i+1), NodeMeta: map[string]string{"rack": name},
			Service: &structs.NodeService{ID: "web", Service: "web", Tags: []string{"v1", name}, Meta: map[string]string{"env": "prod"}, Port: 80},
			Checks:  []*structs.HealthCheck{{Node: name, CheckID: "alive", ServiceID: "web", Status: status}},
		})
	}
}

func executed(r *api.PreparedQueryExecuteResponse) string {
	var names []string
	for _, n := range r.Nodes {
		names = append(names, n.Node.Node)
	}
	return strings.Join(names, " ")
}

func TestPreparedQueryClient(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.registerWeb()
	query := a.client().PreparedQuery()
	def := &api.PreparedQueryDefinition{Name: "test", Service: api.ServiceQuery{
		Service: "web", NodeMeta: map[string]string{"rack": "a"}, ServiceMeta: map[string]string{"env": "prod"},
	}}
	id, _, err := query.Create(def, nil)
	if err != nil || len(id) != 36 {
		t.Fatalf("create: got %q, %v", id, err)
	}
	def.ID = id
	same := func(step string) {
		t.Helper()
		got, meta, err := query.Get(id, nil)
		if diff := cmp.Diff([]*api.PreparedQueryDefinition{def}, got); err != nil || diff != "" || meta.LastIndex == 0 {
			t.Errorf("%s: get: %v, %+v\n%s", step, err, meta, diff)
		}
		all, _, err := query.List(nil)
		if diff := cmp.Diff([]*api.PreparedQueryDefinition{def}, all); err != nil || diff != "" {
			t.Errorf("%s: list: %v\n%s", step, err, diff)
		}
	}
	same("created")
	for _, name := range []string{id, "test", "TEST"} {
		r, meta, err := query.Execute(name, nil)
		if err != nil || executed(r) != "a" || r.Service != "web" || r.Datacenter != "dc1" || r.Failovers != 0 || meta.LastIndex != 1 {
			t.Errorf("execute %s: got %+v, %+v, %v, want the instance on a at index 1", name, r, meta, err)
		}
	}
	for _, test := range []struct {
		name    string
		service api.ServiceQuery
		want    string
	}{
		{"not critical", api.ServiceQuery{}, "a b"},
		{"passing", api.ServiceQuery{OnlyPassing: true}, "a"},
		{"a check ignored", api.ServiceQuery{IgnoreCheckIDs: []string{"alive"}}, "a b c"},
		{"another ignored", api.ServiceQuery{IgnoreCheckIDs: []string{"Alive"}}, "a b"},
		{"tag", api.ServiceQuery{Tags: []string{"V1", "b"}}, "b"},
		{"not that tag", api.ServiceQuery{Tags: []string{"v1", "!b"}}, "a"},
		{"no such tag", api.ServiceQuery{Tags: []string{""}}, ""},
		{"meta", api.ServiceQuery{NodeMeta: map[string]string{"rack": "b"}, ServiceMeta: map[string]string{"env": "test"}}, ""},
		{"elsewhere", api.ServiceQuery{Tags: []string{"c"}, Failover: api.QueryFailoverOptions{NearestN: 2, Datacenters: []string{"dc2", "dc1"}}}, ""},
		{"targets", api.ServiceQuery{Tags: []string{"a"}, Failover: api.QueryFailoverOptions{Targets: []api.QueryFailoverTarget{{Datacenter: "dc2"}}}}, "a"},
	} {
		test.service.Service, test.service.Near = "web", "a" // itself first; the others are equally far
		def.Service = test.service
		if _, err := query.Update(def, nil); err != nil {
			t.Errorf("%s: update: %v", test.name, err)
			continue
		}
		same(test.name)
		r, _, err := query.Execute(id, nil)
		if err != nil || executed(r) != test.want && executed(r) != strings.Replace(test.want, "b c", "c b", 1) || r.Nodes == nil {
			t.Errorf("%s: got %+v, %v, want %s", test.name, r, err, test.want)
		}
	}
	if _, err := query.Delete(id, nil); err != nil {
		t.Fatal(err)
	}
	if all, _, err := query.List(nil); err != nil || all == nil || len(all) > 0 {
		t.Errorf("after the delete: got %v, %v, want []", all, err)
	}
	if _, _, err := query.Execute("test", nil); err == nil || !strings.Contains(err.Error(), "404 (Query not found)") {
		t.Errorf("after the delete: execute: got %v, want 404", err)
	}
}

// What is refused has Consul's status and text, and changes nothing.
func TestPreparedQueryAnswers(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.registerWeb()
	if got := a.do("POST", "/v1/query", `{"Name":"q1","Service":{"Service":"web"}}`); got.status != 200 {
		t.Fatalf("create: got %d %s", got.status, got.body)
	}
	if got := a.do("POST", "/v1/query", `{"Name":"geo-","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${name.suffix}","Tags":["${match(1)}"]}}`); got.status != 200 {
		t.Fatalf("create a template: got %d %s", got.status, got.body)
	}
	list := func() string { return a.do("GET", "/v1/query", "").body }
	before := list()
	const unknown = "5f61c932-1eaa-5f6f-0019-02bfcc94edf2"
	for _, test := range []struct {
		method, target, body string
		status               int
		want                 string // beginning of the body
	}{
		{"POST", "/v1/query", `{"Name":"q2"}`, 500, "Invalid prepared query: Must provide a Service name to query"},
		{"POST", "/v1/query", `{"Service":{"Service":"web"}}`, 500, "Invalid prepared query: Must be bound to a session"},
		{"POST", "/v1/query", `{"Name":"q1","Service":{"Service":"web"}}`, 500, "raft apply failed: name 'q1' aliases an existing query name"},
		{"POST", "/v1/query", `{"Session":"zz","Service":{"Service":"web"}}`, 500, `raft apply failed: invalid session "zz"`},
		{"POST", "/v1/query", `{"ID":"` + unknown + `","Name":"q2","Service":{"Service":"web"}}`, 500, "ID must be empty when creating a new prepared query"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web"},"DNS":{"TTL":"x"}}`, 500, `Invalid prepared query: Bad DNS TTL 'x': time: invalid duration "x"`},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web"},"DNS":{"TTL":"-1s"}}`, 500, "Invalid prepared query: DNS TTL '-1s', must be >=0"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web","Failover":{"NearestN":-1}}}`, 500, "Invalid prepared query: Bad NearestN '-1', must be >= 0"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web","Failover":{"NearestN":1,"Targets":[{"Datacenter":"dc2"}]}}}`, 500, "Invalid prepared query: Targets cannot be populated with NearestN or Datacenters"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web","Failover":{"Targets":[{"Peer":"p"}]}}}`, 501, "Invalid prepared query: Praetor has no cluster peering"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web","Peer":"p"}}`, 501, "Invalid prepared query: Praetor has no cluster peering"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web","Connect":true}}`, 501, "Invalid prepared query: Praetor has no service mesh"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web","SamenessGroup":"g"}}`, 501, "Invalid prepared query: Sameness groups are a Consul Enterprise feature"},
		{"POST", "/v1/query", `{"Name":"q2","Template":{"Type":"x"},"Service":{"Service":"web"}}`, 500, "Invalid prepared query: Bad Template.Type 'x'"},
		{"POST", "/v1/query", `{"Name":"q2","Template":{"Type":"name_prefix_match","Regexp":"("},"Service":{"Service":"web"}}`, 500, "Invalid prepared query: Bad template: bad Regexp: "},
		{"POST", "/v1/query", `{"Name":"q2","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${nope}"}}`, 500, "Invalid prepared query: Bad template: there is no variable ${nope}"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"` + strings.Repeat("x", 70_000) + `"}}`, 413, "the prepared query is too large"},
		{"POST", "/v1/query", strings.Repeat(" ", 200_000), 413, "Request body"},
		{"POST", "/v1/query", `{"Name":"q2","Service":{"Service":"web","NodeMeta":{"a b":"c"}}}`, 500, `Invalid prepared query: Invalid NodeMeta filters: the key "a b" must be`},
		{"POST", "/v1/query", `{"Name":"` + strings.Repeat("q", 1025) + `","Service":{"Service":"web"}}`, 413, "Invalid prepared query: the name has 1025 bytes"},
		{"POST", "/v1/query", `{"Nope":1}`, 400, `Request decode failed: json: unknown field "Nope"`},
		{"POST", "/v1/query", "", 400, "Request decode failed: EOF"},
		{"POST", "/v1/query?dc=dc2", `{"Name":"q2","Service":{"Service":"web"}}`, 500, "No path to datacenter"},
		{"PUT", "/v1/query/" + unknown, `{"Name":"q2","Service":{"Service":"web"}}`, 500, "Cannot modify non-existent prepared query: '" + unknown + "'"},
		{"DELETE", "/v1/query/" + unknown, "", 500, "Cannot modify non-existent prepared query: '" + unknown + "'"},
		{"GET", "/v1/query/" + unknown, "", 404, "Query not found"},
		{"GET", "/v1/query/q1", "", 500, "failed prepared query lookup: index error: UUID must be 36 characters"},
		{"GET", "/v1/query/nope/execute", "", 404, "Query not found"},
		{"GET", "/v1/query/nope/explain", "", 404, "Query not found"},
		{"GET", "/v1/query/q1/execute?limit=x", "", 500, `Bad limit: strconv.Atoi: parsing "x": invalid syntax`},
		{"GET", "/v1/query/q1/execute?connect=true", "", 501, "Praetor has no service mesh"},
		{"GET", "/v1/query/q1/execute?stale&consistent", "", 400, "Cannot specify ?stale with ?consistent"},
		{"PATCH", "/v1/query/q1", "", 405, "method PATCH not allowed"},
	} {
		got := a.do(test.method, test.target, test.body)
		if got.status != test.status || !strings.HasPrefix(got.body, test.want) {
			t.Errorf("%s %s %.90s: got %d %s, want %d %s", test.method, test.target, test.body, got.status, got.body, test.status, test.want)
		}
	}
	if after := list(); after != before {
		t.Errorf("something has changed:\n%s\n%s", before, after)
	}
}

func TestPreparedQueryExecute(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.registerWeb()
	template := `{"Name":"geo-","Template":{"Type":"name_prefix_match","Regexp":"^geo-(.*)-([a-z]*)$","RemoveEmptyTags":true},
		"Service":{"Service":"${match(1)}","Tags":["${match(2)}"]},"DNS":{"TTL":"10s"}}`
	if got := a.do("POST", "/v1/query", template); got.status != 200 {
		t.Fatalf("create: got %d %s", got.status, got.body)
	}
	if got := a.do("POST", "/v1/query", `{"Name":"near","Service":{"Service":"web","Near":"_ip"}}`); got.status != 200 {
		t.Fatalf("create: got %d %s", got.status, got.body)
	}
	run := func(target string, headers ...string) (names string) {
		t.Helper()
		got := a.do("GET", "/v1/query/"+target, "", headers...)
		var r api.PreparedQueryExecuteResponse
		if err := json.Unmarshal([]byte(got.body), &r); got.status != 200 || err != nil {
			t.Fatalf("%s: got %d %s", target, got.status, got.body)
		}
		return executed(&r)
	}
	for _, test := range []struct {
		target, forwarded, want string
	}{
		{"geo-web-a/execute", "", "a"},
		{"geo-web-/execute?near=b", "", "b a"},
		{"geo-web-/execute?near=b&limit=1", "", "b"},
		{"geo-db-a/execute", "", ""},
		{"near/execute", "10.0.0.1, 10.0.0.9", "a b"},
		{"near/execute", "10.0.0.2", "b a"},
		{"near/execute?near=a", "10.0.0.2", "a b"},
	} {
		for range 5 { // what is not sorted is shuffled
			if got := run(test.target, "X-Forwarded-For", test.forwarded); got != test.want {
				t.Errorf("%s from %q: got %q, want %q", test.target, test.forwarded, got, test.want)
			}
		}
	}
	got := a.do("GET", "/v1/query/geo-web-a/explain?stale", "")
	for _, part := range []string{`{"Query":{"ID":"`, `"Service":"web"`, `"Tags":["a"]`, `"ConsistencyLevel":"stale"`, `"Index":1,`} {
		if got.status != 200 || !strings.Contains(got.body, part) {
			t.Errorf("explain: got %d %s, want %s in it", got.status, got.body, part)
		}
	}
	if h := got.header; h.Get("X-Consul-Effective-Consistency") != "stale" || h.Get("X-Consul-Index") != "1" {
		t.Errorf("explain: got headers %v", h)
	}
	seen := map[string]bool{}
	for range 100 {
		seen[run("near/execute")] = true
	}
	if len(seen) != 2 {
		t.Errorf("got only the orders %v: instances are not shuffled", seen)
	}
	if got := a.do("GET", "/v1/query/near/execute?cached", "").header.Get("X-Cache"); got != "HIT" {
		t.Errorf("?cached: got X-Cache %q, want HIT", got)
	}
	testutil.Eventually(t, 10*time.Second, "the agent's own node", func() error {
		if a.agent.server.FSM().Store().Read().Node("node-a") == nil {
			return errors.New("not in the catalog yet")
		}
		return nil
	})
	for _, near := range []string{"_agent", "node-a"} {
		a.log(&structs.RegisterRequest{Node: "node-a", SkipNodeUpdate: true, Service: &structs.NodeService{ID: "web", Service: "web"}})
		if got := run("near/execute?near=" + near); !strings.HasPrefix(got, "node-a ") {
			t.Errorf("near %s: got %q, want the agent's node first", near, got)
		}
		var rows []struct{ Node string }
		if got := a.do("GET", "/v1/catalog/service/web?near="+near, ""); json.Unmarshal([]byte(got.body), &rows) != nil || len(rows) != 4 || rows[0].Node != "node-a" {
			t.Errorf("catalog near %s: got %s, want the agent's node first", near, got.body)
		}
	}
	empty := a.do("GET", "/v1/query/geo-db-a/execute", "").body
	want := `{"Service":"db","Nodes":[],"DNS":{"TTL":"10s"},"Datacenter":"dc1","PeerName":"","Failovers":0,"Index":1,"LastContact":0,` +
		`"KnownLeader":true,"ConsistencyLevel":"leader","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`
	if empty != want {
		t.Errorf("got  %s\nwant %s", empty, want)
	}
}

// The queries of a real Consul come out of its snapshot as it showed them.
func TestPreparedQueryFixture(t *testing.T) {
	t.Parallel()
	const fixtures = "../../shared/fixtures/consul-1.21.4."
	archive, err := os.ReadFile(fixtures + "snap")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the fixtures folder stands beside the checkout, and this checkout has none beside it")
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fixtures + "json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Queries any }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	a := newTestAPI(t, nil)
	if got := a.do("PUT", "/v1/snapshot", string(archive)); got.status != 200 {
		t.Fatalf("restore: got %d %s", got.status, got.body)
	}
	got := a.do("GET", "/v1/query", "")
	var queries any
	if err := json.Unmarshal([]byte(got.body), &queries); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Queries, queries); diff != "" {
		t.Error(diff)
	}
	a.wantRestoredIndex(got.header, 412, func(r *state.Reader) { r.PreparedQueries() })
}

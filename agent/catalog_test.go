package agent

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"praetor/state"
	"praetor/testutil"
)

// settled waits until the catalog has all of our own node, so that nothing
// writes to it any more.
func (a *testAPI) settled() *testAPI {
	a.t.Helper()
	testutil.Eventually(a.t, 20*time.Second, "our own node in the catalog", func() error {
		if got := a.do("GET", "/v1/catalog/node/node-a", "").body; !strings.Contains(got, `"lan_ipv4"`) {
			return errors.New(got)
		}
		return nil
	})
	return a
}

// ask sends "METHOD target body" and fails unless the status is 200.
func (a *testAPI) ask(request string) reply {
	a.t.Helper()
	method, rest, _ := strings.Cut(request, " ")
	target, body, _ := strings.Cut(rest, " ")
	got := a.do(method, target, body)
	if got.status != 200 {
		a.t.Fatalf("%s: got %d %s", request, got.status, got.body)
	}
	return got
}

// Errors of registrations: consul-http.md 2.5. None of them changes anything.
func TestRegisterIsChecked(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil).settled()
	const id1, id2 = `"11111111-2222-3333-4444-555555555555"`, `"22222222-2222-3333-4444-555555555555"`
	a.ask(`PUT /v1/catalog/register {"Node":"taken","ID":` + id1 + `,"Address":"10.0.0.1","Check":{"CheckID":"serfHealth","Status":"passing"}}`)
	pairs := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`"k` + strings.Repeat("x", i) + `":"v",`)
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	before := a.agent.server.FSM().View()
	for _, test := range []struct {
		body   string
		status int
		text   string
	}{
		{``, 400, "Request decode failed: EOF"},
		{`{`, 400, "Request decode failed: unexpected EOF"},
		{`{"Nope":1}`, 400, `Request decode failed: json: unknown field "Nope"`},
		{`{"Address":"1.1.1.1"}`, 500, "Must provide node"},
		{`{"Node":"x"}`, 500, "Must provide address if SkipNodeUpdate is not set"},
		{`{"Node":"x","Address":"a","ID":"zz"}`, 500, "Bad node ID: uuid string is wrong length"},
		{`{"Node":"x","Address":"a","Datacenter":"nowhere"}`, 500, "No path to datacenter"},
		{`{"Node":"x","Address":"a","PeerName":"p"}`, 500, "cannot register requests with PeerName in them"},
		{`{"Node":"x","Address":"a","Service":{}}`, 500, "Must provide service name (Service.Service)"},
		{`{"Node":"x","Address":"a","Service":{"ID":"s"}}`, 500, "Must provide service name (Service.Service) when service ID is provided"},
		{`{"Node":"x","Address":"a","Service":{"Service":"a b"}}`, 500, "Service name a b contains invalid characters. Valid characters include all alpha-numerics and dashes."},
		{`{"Node":"x","Address":"a","Service":{"Service":"s","Address":"0.0.0.0"}}`, 500, "Invalid service address"},
		{`{"Node":"x","Address":"a","Service":{"Service":"s","Address":"[::]"}}`, 500, "Invalid service address"},
		{`{"Node":"x","Address":"a","Service":{"Service":"s","Weights":{"Passing":0,"Warning":1}}}`, 500, "Invalid Weights: Passing must be 1 to 65535, Warning 0 to 65535"},
		{`{"Node":"x","Address":"a","Check":{"CheckID":"a","ServiceID":"nope"}}`, 500, "Unknown service ID 'nope' for check ID 'a'"},
		{`{"Node":"y","Address":"a","Check":{"CheckID":"a","Node":"z"}}`, 500, "Node 'z' for check 'a' doesn't match register request node 'y'"},
		{`{"Node":"y","Address":"a","Check":{}}`, 500, "Must provide check name (Check.Name) or check ID (Check.CheckID)"},
		{`{"Node":"y","Address":"a","Checks":[null]}`, 500, "one of the checks is empty"},
		{`{"Node":"TAKEN","Address":"a","ID":` + id2 + `}`, 500, "failed inserting node: Error while renaming Node ID: " + id2 +
			" (a): Node name TAKEN is reserved by node 11111111-2222-3333-4444-555555555555 with name taken (10.0.0.1)"},
		{`{"Node":"x","Address":"a","NodeMeta":{"a b":"c"}}`, 500, `node meta: the key "a b" must be of letters, digits, - and _`},
		{`{"Node":"x","Address":"a","NodeMeta":{"` + strings.Repeat("k", 129) + `":"c"}}`, 500, `node meta: the key "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"... has 129 bytes, more than 128 (the limit of a key)`},
		{`{"Node":"x","Address":"a","NodeMeta":{"k":"` + strings.Repeat("v", 513) + `"}}`, 500, `node meta: the value of "k" has 513 bytes, more than 512 (the limit of a value)`},
		{`{"Node":"x","Address":"a","NodeMeta":` + pairs(65) + `}`, 500, "node meta: it has 65 pairs, more than 64 (the limit of pairs)"},
		{`{"Node":"x","Address":"a","Service":{"Service":"s","Meta":` + pairs(65) + `}}`, 500, "service meta: it has 65 pairs, more than 64 (the limit of pairs)"},
		{`{"Node":"` + strings.Repeat("n", 1025) + `","Address":"a"}`, 413, "the node name has 1025 bytes, more than 1024 (the limit of a name)"},
		{`{"Node":"a\u0000b","Address":"a"}`, 500, `the node name "a\x00b" holds a character that is none of a text`},
		{`{"Node":"x","Address":"a","Check":{"CheckID":"c","Output":"` + strings.Repeat("o", 64<<10+1) + `"}}`, 413, `the output of check "c" has 65537 bytes, more than 65536 (the limit of a check's texts)`},
		{`{"Node":"` + strings.Repeat("n", 600<<10) + `"}`, 413, "Request body(614411 bytes) too large, max size: 524288 bytes. See the limit of a registration."},
	} {
		got := a.do("PUT", "/v1/catalog/register", test.body)
		if got.status != test.status || got.body != test.text {
			t.Errorf("%.100s: got %d %s\nwant %d %s", test.body, got.status, got.body, test.status, test.text)
		}
	}
	for body, text := range map[string]string{`{}`: "Must provide node", `{"Node":"x","PeerName":"p"}`: "cannot deregister requests with PeerName in them"} {
		if got := a.do("PUT", "/v1/catalog/deregister", body); got.status != 500 || got.body != text {
			t.Errorf("deregister %s: got %d %s, want 500 %s", body, got.status, got.body, text)
		}
	}
	for _, body := range []string{`{"Node":"nope"}`, `{"Node":"nope","ServiceID":"x","Address":"old"}`, `{"node":"nope","checkid":"x"}`} {
		if got := a.do("PUT", "/v1/catalog/deregister", body); got.status != 200 || got.body != "true" {
			t.Errorf("deregister %s: got %d %s, want 200 true", body, got.status, got.body)
		}
	}
	if after := a.agent.server.FSM().View(); before.Hash() != after.Hash() {
		t.Error("something that was refused, or had nothing to do, changed the state")
	}
}

const redis = `{"node":"ext","ADDRESS":"10.0.0.9","Service":{"ID":"redis1","Service":"redis","Tags":["v1","m"],"Meta":{"k":"v"},"Port":6379},` +
	`"Check":{"Name":"r","ServiceID":"redis1","Status":"passing"}}`

// What clients see of a registration: consul-http.md 7, exchanges 16 to 19.
func TestCatalogAnswers(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil).settled()
	if got := a.ask("PUT /v1/catalog/register " + redis); got.body != "true" {
		t.Errorf("register: got %s", got.body)
	}
	index := a.ask("GET /v1/health/service/redis").header.Get("X-Consul-Index")
	row := `{"Node":{"ID":"","Node":"ext","Address":"10.0.0.9","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":N,"ModifyIndex":N},` +
		`"Service":{"ID":"redis1","Service":"redis","Tags":["v1","m"],"Address":"","Meta":{"k":"v"},"Port":6379,"Weights":{"Passing":1,"Warning":1},` +
		`"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":N,"ModifyIndex":N},` +
		`"Checks":[{"Node":"ext","CheckID":"r","Name":"r","Status":"passing","Notes":"","Output":"","ServiceID":"redis1","ServiceName":"redis",` +
		`"ServiceTags":["v1","m"],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":N,"ModifyIndex":N}]}`
	for _, test := range []struct {
		request string
		status  int
		body    string
	}{
		{"/v1/health/service/redis", 200, "[" + row + "]"},
		{"/v1/health/service/REDIS?passing&tag=V1&tag=m", 200, "[" + row + "]"},
		{"/v1/health/service/redis?passing=false&filter=Service.Port==6379", 200, "[" + row + "]"},
		{"/v1/health/service/redis?passing=x", 400, "Invalid value for ?passing"},
		{"/v1/health/service/redis?tag=v1&tag=v2", 200, "[]"},
		{"/v1/health/service/redis?node-meta=a:b", 200, "[]"},
		{"/v1/health/service/redis?peer=p", 501, "Praetor has no cluster peering"},
		{"/v1/health/service/redis?peer=p&sg=g", 400, "peer-name and sameness-group are mutually exclusive"},
		{"/v1/health/service/redis?filter=Nope==1", 500, `Failed to create boolean expression evaluator: Selector "Nope" is not valid`},
		{"/v1/health/service/redis?index=x", 400, "Invalid index"},
		{"/v1/health/service/", 400, "Missing service name"},
		{"/v1/health/checks/", 400, "Missing service name"},
		{"/v1/health/node/", 400, "Missing node name"},
		{"/v1/health/state/", 400, "Missing check state"},
		{"/v1/catalog/service/", 400, "Missing service name"},
		{"/v1/catalog/node/", 400, "Missing node name"},
		{"/v1/catalog/node-services/", 400, "Missing node name"},
		{"/v1/health/service/nope", 200, "[]"},
		{"/v1/health/node/nope", 200, "[]"},
		{"/v1/health/checks/nope", 200, "[]"},
		{"/v1/health/state/nope", 200, "[]"},
		{"/v1/health/state/any?filter=Node==nope", 200, "[]"},
		{"/v1/catalog/service/nope", 200, "[]"},
		{"/v1/catalog/node/nope", 200, "null"},
		{"/v1/catalog/node-services/nope", 200, `{"Node":null,"Services":null}`},
		{"/v1/catalog/nodes?node-meta=no:pe", 200, "[]"},
		{"/v1/catalog/services?node-meta=no:pe", 200, "{}"},
		{"/v1/catalog/services?filter=ServiceName==redis", 200, `{"redis":["v1","m"]}`},
		{"/v1/catalog/services", 200, `{"consul":[],"redis":["v1","m"]}`},
		{"/v1/catalog/datacenters", 200, `["dc1"]`},
		{"/v1/catalog/nodes?dc=nowhere", 500, "No path to datacenter"},
		{"/v1/catalog/connect/redis", 501, noMesh(nil).Error()},
		{"/v1/catalog/nodes?filter=" + strings.Repeat("(", 3000), 500, "Failed to create boolean expression evaluator: byte 66: more than 64 brackets and nots in one another (the limit of a filter's depth)"},
	} {
		got := a.do("GET", test.request, "")
		if body := strings.ReplaceAll(got.body, `Index":`+index, `Index":N`); got.status != test.status || body != test.body {
			t.Errorf("%.80s: got %d %s\nwant %d %s", test.request, got.status, body, test.status, test.body)
		}
		if got.status == 200 && !strings.Contains(test.request, "datacenters") && (got.header.Get("X-Consul-Effective-Consistency") != "leader" ||
			got.header.Get("X-Consul-Index") == "" || got.header.Get("X-Consul-Query-Backend") != "blocking-query") {
			t.Errorf("%s: headers: %v", test.request, got.header)
		}
	}
	own := a.ask("GET /v1/catalog/node/node-a?filter=Service==consul")
	var node struct {
		Node struct{ Meta, TaggedAddresses map[string]string }
	}
	if err := json.Unmarshal([]byte(own.body), &node); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"consul-network-segment": "", "consul-version": "1.2.3"}, node.Node.Meta); diff != "" {
		t.Errorf("our own node's meta data: %s", diff)
	}
	if diff := cmp.Diff(map[string]string{"lan": "127.0.0.1", "lan_ipv4": "127.0.0.1", "wan": "127.0.0.1", "wan_ipv4": "127.0.0.1"}, node.Node.TaggedAddresses); diff != "" {
		t.Errorf("our own node's addresses: %s", diff)
	}
	usage := a.ask("GET /v1/operator/usage").body
	if want := `{"Usage":{"dc1":{"Nodes":2,"Services":2,"ServiceInstances":2,"ConnectServiceInstances":{"api-gateway":0,"connect-native":0,"connect-proxy":0,"ingress-gateway":0,"mesh-gateway":0,"terminating-gateway":0},"BillableServiceInstances":1}},`; !strings.HasPrefix(usage, want) {
		t.Errorf("usage: got %s\nwant %s...", usage, want)
	}
}

func TestCached(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil).settled()
	for _, test := range []struct{ request, control, cache, age string }{
		{"/v1/catalog/service/consul", "", "", ""},
		{"/v1/catalog/service/consul?cached", "", "HIT", "0"},
		{"/v1/health/service/consul?cached", "max-age=5", "HIT", "0"},
		{"/v1/health/service/consul?cached", "max-age=0", "MISS", ""},
		{"/v1/health/service/consul?cached", "must-revalidate", "MISS", ""},
		{"/v1/health/service/consul?cached", "must-revalidate, stale-if-error=5", "MISS", ""},
		{"/v1/health/service/consul", "max-age=5", "", ""},
		{"/v1/catalog/datacenters?cached", "", "HIT", "0"},
	} {
		got := a.do("GET", test.request, "", "Cache-Control", test.control)
		if got.status != 200 || got.header.Get("X-Cache") != test.cache || got.header.Get("Age") != test.age || got.body == "[]" {
			t.Errorf("%s with %q: got %d %q, age %q, want %q, age %q", test.request, test.control,
				got.status, got.header.Get("X-Cache"), got.header.Get("Age"), test.cache, test.age)
		}
	}
	if got := a.do("GET", "/v1/catalog/service/consul?cached&consistent", ""); got.status != 400 {
		t.Errorf("cached and consistent: got %d", got.status)
	}
}

// What a real Consul answered, after its snapshot was restored here.
func TestFixtureOverHTTP(t *testing.T) {
	t.Parallel()
	archive, err := os.ReadFile("../../shared/fixtures/consul-1.21.4.snap")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the fixtures folder stands beside the checkout, and this checkout has none beside it")
	}
	if err != nil {
		t.Fatal(err)
	}
	answers, err := os.ReadFile("../../shared/fixtures/consul-1.21.4.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Nodes     []any               `json:"nodes"`
		Services  map[string][]string `json:"services"`
		HealthWeb []any               `json:"health_web"`
	}
	if err := json.Unmarshal(answers, &want); err != nil {
		t.Fatal(err)
	}
	a := newTestAPI(t, nil).settled()
	if got := a.do("PUT", "/v1/snapshot", string(archive)); got.status != 200 {
		t.Fatalf("restore: %d %s", got.status, got.body)
	}
	a.settled()
	decode := func(r reply, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(r.body), into); err != nil {
			t.Fatal(err)
		}
	}
	var nodes, health []any
	var services map[string][]string
	decode(a.ask("GET /v1/catalog/nodes?filter=Node!=`node-a`"), &nodes)
	decode(a.ask("GET /v1/catalog/services"), &services)
	reply := a.ask("GET /v1/health/service/web")
	decode(reply, &health)
	if diff := cmp.Diff(want.Nodes, nodes); diff != "" {
		t.Errorf("nodes (-Consul's +ours):\n%s", diff)
	}
	if diff := cmp.Diff(want.Services, services); diff != "" {
		t.Errorf("services (-Consul's +ours):\n%s", diff)
	}
	if diff := cmp.Diff(want.HealthWeb, health); diff != "" {
		t.Errorf("health of web (-Consul's +ours):\n%s", diff)
	}
	a.wantRestoredIndex(reply.header, 402, func(r *state.Reader) { r.CheckServiceNodes("web") })
}

// The official client registers, finds and removes.
func TestClientCatalog(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil).settled()
	c := a.client()
	registration := &api.CatalogRegistration{
		Node: "foobar", Address: "192.168.10.10", Datacenter: "dc1", NodeMeta: map[string]string{"somekey": "somevalue"},
		Service: &api.AgentService{ID: "redis1", Service: "redis", Tags: []string{"primary", "v1"}, Port: 8000},
		Check:   &api.AgentCheck{Node: "foobar", CheckID: "service:redis1-a", Name: "Redis", Status: api.HealthPassing, ServiceID: "redis1"},
		Checks: api.HealthChecks{{Node: "foobar", CheckID: "service:redis1-b", Status: api.HealthPassing, ServiceID: "redis1",
			Definition: api.HealthCheckDefinition{TCP: "1.1.1.1:1", IntervalDuration: 5 * time.Second, TimeoutDuration: time.Second}}},
	}
	if _, err := c.Catalog().Register(registration, nil); err != nil {
		t.Fatal(err)
	}
	rows, meta, err := c.Health().Service("redis", "v1", true, &api.QueryOptions{UseCache: true, Filter: "Node.Meta.somekey == somevalue"})
	if err != nil || len(rows) != 1 || len(rows[0].Checks) != 2 || !meta.CacheHit || rows[0].Checks.AggregatedStatus() != "passing" {
		t.Fatalf("health: %+v, %+v, %v", rows, meta, err)
	}
	if d := rows[0].Checks[1].Definition; d.IntervalDuration != 5*time.Second || rows[0].Checks[1].Type != "tcp" {
		t.Errorf("definition: %+v, type %s", d, rows[0].Checks[1].Type)
	}
	proxy := &api.AgentService{ID: "p", Service: "p", Kind: api.ServiceKindConnectProxy, Proxy: &api.AgentServiceConnectProxyConfig{
		DestinationServiceName: "redis", Config: map[string]any{"a": 1.0}, Upstreams: []api.Upstream{{DestinationName: "db", LocalBindPort: 9}}}}
	if _, err := c.Catalog().Register(&api.CatalogRegistration{Node: "foobar", SkipNodeUpdate: true, Service: proxy}, nil); err != nil {
		t.Fatal(err)
	}
	back, _, err := c.Catalog().Service("p", "", nil)
	if err != nil || len(back) != 1 {
		t.Fatalf("proxy: %+v, %v", back, err)
	}
	if diff := cmp.Diff(proxy.Proxy, back[0].ServiceProxy); diff != "" {
		t.Errorf("proxy: %s", diff)
	}
	for _, d := range []*api.CatalogDeregistration{
		{Node: "foobar", Address: "192.168.10.10", CheckID: "service:redis1-a"}, {Node: "foobar", ServiceID: "redis1"}, {Node: "foobar"},
	} {
		if _, err := c.Catalog().Deregister(d, nil); err != nil {
			t.Fatal(err)
		}
	}
	if node, _, err := c.Catalog().Node("foobar", nil); node != nil || err != nil {
		t.Errorf("after the deregistration: %+v, %v", node, err)
	}
}

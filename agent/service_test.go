package agent

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"praetor/agent/config"
)

func TestLocalAnswers(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	many := map[string]string{}
	for i := range 65 {
		many[strings.Repeat("k", i+1)] = "v"
	}
	tooMany, _ := json.Marshal(map[string]any{"Name": "x", "Meta": many})
	const ttlOnly = "Praetor runs TTL checks only so far"
	for _, test := range []struct {
		request string // method, target, body
		status  int
		body    string // or its beginning
	}{
		{"GET /v1/agent/services", 200, "{}"},
		{"GET /v1/agent/checks", 200, "{}"},
		{"GET /v1/agent/service/nope", 404, "unknown service ID: nope"},
		{`PUT /v1/agent/service/register {"ID":"web1","Name":"web","Port":8080,"Tags":["v1"],"Meta":{"a":"b"},"Check":{"TTL":"30s"}}`, 200, ""},
		{"GET /v1/agent/services", 200, `{"web1":{"ID":"web1","Service":"web","Tags":["v1"],"Meta":{"a":"b"},"Port":8080,"Address":"",` +
			`"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"}}`},
		{"GET /v1/agent/checks", 200, `{"service:web1":{"Node":"node-a","CheckID":"service:web1","Name":"Service 'web' check","Status":"critical",` +
			`"Notes":"","Output":"","ServiceID":"web1","ServiceName":"web","ServiceTags":["v1"],"Type":"ttl","Interval":"","Timeout":"","ExposedPort":0,` +
			`"Definition":{},"CreateIndex":0,"ModifyIndex":0}}`},
		{"GET /v1/agent/services?filter=Service+==+web", 200, `{"web1"`},
		{"GET /v1/agent/services?filter=v2+in+Tags", 200, "{}"},
		{"GET /v1/agent/checks?filter=Name+==+nope", 200, "{}"},
		{"GET /v1/agent/checks?filter=Name+===", 500, "Failed to create boolean expression evaluator"},
		{"GET /v1/agent/services?filter=Nope+==+a", 500, "Failed to create boolean expression evaluator"},
		{"GET /v1/agent/health/service/id/web1?format=text", 503, "critical"},
		{"PUT /v1/agent/check/warn/service:web1?note=hm", 200, ""},
		{"GET /v1/agent/health/service/id/web1?format=text", 429, "warning"},
		{"PUT /v1/agent/check/pass/service:web1?note=ok", 200, ""},
		{"GET /v1/agent/health/service/id/web1?format=text", 200, "passing"},
		{"GET /v1/agent/health/service/name/web?format=text", 200, "passing"},
		{"GET /v1/agent/health/service/name/web", 200, `[{"AggregatedStatus":"passing","Service":{"ID":"web1"`},
		{`PUT /v1/agent/check/update/service:web1 {"Status":"warning","Output":"new"}`, 200, ""},
		{"GET /v1/agent/checks?filter=Output+==+new", 200, `{"service:web1"`},
		{`PUT /v1/agent/check/update/service:web1 {"Status":"bad"}`, 400, "Invalid check status: 'bad'"},
		{`PUT /v1/agent/check/update/nope {"Status":"passing"}`, 404, `Unknown check ID "nope". Ensure that the check ID is passed, not the check name.`},
		{"PUT /v1/agent/check/pass/nope", 404, `Unknown check ID "nope". Ensure that the check ID is passed, not the check name.`},
		{"PUT /v1/agent/check/fail/service:web1", 200, ""},
		{"GET /v1/agent/health/service/name/web?format=text", 503, "critical"},
		{"PUT /v1/agent/service/maintenance/web1?enable=true&reason=why", 200, ""},
		{"GET /v1/agent/health/service/id/web1?format=text", 503, "maintenance"},
		{"PUT /v1/agent/check/pass/_service_maintenance:web1", 500, `CheckID "_service_maintenance:web1" does not have associated TTL`},
		{"PUT /v1/agent/service/maintenance/web1?enable=false", 200, ""},
		{"PUT /v1/agent/maintenance?enable=1", 200, ""},
		{"GET /v1/agent/health/service/id/web1?format=text", 503, "maintenance"},
		{"PUT /v1/agent/maintenance?enable=0", 200, ""},
		{"PUT /v1/agent/maintenance", 400, "Missing value for enable"},
		{"PUT /v1/agent/maintenance?enable=x", 400, `Invalid value for enable: "x"`},
		{"PUT /v1/agent/service/maintenance/?enable=1", 400, "Missing service ID"},
		{"PUT /v1/agent/service/maintenance/web1", 400, "Missing value for enable"},
		{"PUT /v1/agent/service/maintenance/nope?enable=1", 404, `Unknown service ID "nope". Ensure that the service ID is passed, not the service name.`},
		{"GET /v1/agent/health/service/id/nope", 404, `{"AggregatedStatus":"critical","Service":null,"Checks":null}`},
		{"GET /v1/agent/health/service/id/nope?format=text", 404, "ServiceId nope not found"},
		{"GET /v1/agent/health/service/name/nope", 404, "[]"},
		{"GET /v1/agent/health/service/name/nope?format=text", 404, "ServiceName nope Not Found"},
		{"GET /v1/agent/health/service/id/", 500, "Missing serviceID"},

		{"PUT /v1/agent/service/register", 400, "Request decode failed: EOF"},
		{`PUT /v1/agent/service/register {"Nope":1}`, 400, `Request decode failed: json: unknown field "Nope"`},
		{`PUT /v1/agent/service/register {"Name":"x","Check":{"no_pe":1}}`, 400, `Request decode failed: json: unknown field "no_pe"`},
		{`PUT /v1/agent/service/register {}`, 400, "Missing service name"},
		{`PUT /v1/agent/service/register {"Name":"x","Address":"0.0.0.0"}`, 400, "Invalid service address"},
		{`PUT /v1/agent/service/register {"Name":"x","TaggedAddresses":{"lan":{"Address":"::"}}}`, 400, "Invalid service address"},
		{`PUT /v1/agent/service/register {"Name":"x","Weights":{"Passing":0,"Warning":1}}`, 400, "Invalid Weights: Passing must be greater than 0"},
		{`PUT /v1/agent/service/register {"Name":"x","Meta":{"a.b":"c"}}`, 400, "Invalid Service Meta: "},
		{`PUT /v1/agent/service/register {"Name":"x","Meta":{"a":"` + strings.Repeat("x", 513) + `"}}`, 400, "Invalid Service Meta: "},
		{`PUT /v1/agent/service/register ` + string(tooMany), 400, "Invalid Service Meta: "},
		{`PUT /v1/agent/service/register {"Name":"x","Check":{"TTL":"xx"}}`, 400, `Request decode failed: time: invalid duration "xx"`},
		{`PUT /v1/agent/service/register {"Name":"x","Check":{"TTL":"1s","Status":"fluffy"}}`, 400, "Status for checks must 'passing', 'warning', 'critical'"},
		{`PUT /v1/agent/service/register {"Name":"x","Checks":[{"Notes":"a"}]}`, 400, "Invalid check: TTL must be > 0 for TTL checks"},
		{`PUT /v1/agent/service/register {"Name":"x","Checks":[{"TTL":"1s","Interval":"1s"}]}`, 400, "Invalid check: Interval and TTL cannot both be specified"},
		{`PUT /v1/agent/service/register {"Name":"x","Checks":[{"HTTP":"http://x"}]}`, 400, "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"},
		{`PUT /v1/agent/service/register {"Name":"x","Checks":[{"AliasService":"x","Interval":"1s"}]}`, 400, "Invalid check: Interval cannot be set for Alias checks"},
		{`PUT /v1/agent/service/register {"Name":"x","Checks":[{"HTTP":"http://x","Interval":"10s"}]}`, 501, ttlOnly},
		{`PUT /v1/agent/service/register {"Name":"x","Check":{"args":["true"],"interval":"10s"}}`, 501, ttlOnly},
		{`PUT /v1/agent/check/register {"Name":"x","AliasService":"web1"}`, 501, ttlOnly},
		{`PUT /v1/agent/service/register {"Name":"x","connect":{"sidecar_service":{}}}`, 501, "Praetor has no service mesh"},
		{`PUT /v1/agent/check/register {"TTL":"1s"}`, 400, "Missing check name"},
		{`PUT /v1/agent/check/register {"Name":"x"}`, 400, "Invalid check: TTL must be > 0 for TTL checks"},
		{`PUT /v1/agent/check/register {"Name":"x","TTL":"1s","Status":"bad"}`, 400, "Bad check status"},
		{`PUT /v1/agent/check/register {"Name":"x","TTL":"1s","service_id":"nope"}`, 404, `ServiceID "nope" does not exist`},
		{`PUT /v1/agent/service/register {"Name":"consul"}`, 400, `Invalid service ID: "consul" is the servers' own`},
		{`PUT /v1/agent/service/register {"Name":"x\ty"}`, 400, "Service name x\ty contains invalid characters. Valid characters include all alpha-numerics and dashes."},
		{`PUT /v1/agent/service/register {"Name":"x","Tags":["a\u0000b"]}`, 400, `the service tag "a\x00b" holds a character that is none of a text`},
		{`PUT /v1/agent/service/register {"Name":"` + strings.Repeat("x", 1025) + `"}`, 413, "the service name has 1025 bytes, more than 1024 (the limit of a name)"},
		{`PUT /v1/agent/check/register {"Name":"serfHealth","TTL":"1s"}`, 400, `Invalid check: the ID "serfHealth" is that of the gossip's own check`},
		{`PUT /v1/agent/check/register {"Name":"x\u0001","TTL":"1s"}`, 400, `the check id "x\x01" holds a character that is none of a text`},
		{"PUT /v1/agent/maintenance?enable=1&reason=" + strings.Repeat("x", 64<<10+1), 413, `the notes of check "_node_maintenance" has 65537 bytes, more than 65536 (the limit of a check's texts)`},
		{"GET /v1/agent/services?filter=Service+==+x", 200, "{}"},

		{`PUT /v1/agent/check/register {"name":"c","ttl":60000000000,"service_id":"web1","deregister_critical_service_after":"90m"}`, 200, ""},
		{"PUT /v1/agent/check/deregister/c", 200, ""},
		{"PUT /v1/agent/check/deregister/c", 404, `Unknown check ID "c". Ensure that the check ID is passed, not the check name.`},
		{`PUT /v1/agent/service/register {"id":"p","name":"proxy","kind":"connect-proxy","enable_tag_override":true,` +
			`"tagged_addresses":{"lan":{"address":"1.2.3.4","port":5}},"proxy":{"nope":"web"}}`, 400, `Request decode failed: json: unknown field "nope"`},
		{`PUT /v1/agent/service/register {"id":"p","name":"proxy","kind":"connect-proxy","enable_tag_override":true,` +
			`"tagged_addresses":{"lan":{"address":"1.2.3.4","port":5}},"proxy":{"destination_service_name":"web"}}`, 200, ""},
		{"GET /v1/agent/services?filter=ID+==+p", 200, `{"p":{"Kind":"connect-proxy","ID":"p","Service":"proxy","Tags":[],"Meta":{},"Port":0,"Address":"",` +
			`"TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":5}},"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":true,` +
			`"Proxy":{"DestinationServiceName":"web","Mode":"","MeshGateway":{},"Expose":{}},"Datacenter":"dc1"}}`},
		{"PUT /v1/agent/service/deregister/p", 200, ""},
		{"PUT /v1/agent/service/deregister/p", 404, `Unknown service ID "p". Ensure that the service ID is passed, not the service name.`},
		{`PUT /v1/agent/service/register?replace-existing-checks {"ID":"web1","Name":"web"}`, 200, ""},
		{"GET /v1/agent/checks", 200, "{}"},
		{"GET /v1/agent/health/service/id/web1?format=text", 200, "passing"},
	} {
		method, rest, _ := strings.Cut(test.request, " ")
		target, body, _ := strings.Cut(rest, " ")
		got := a.do(method, target, body)
		exact := test.status >= 400 && test.status != 501 || test.body == "" || test.body == "{}" || strings.HasSuffix(test.body, "}")
		same := got.body == test.body || (!exact || strings.HasSuffix(test.body, ": ") || strings.Contains(test.body, "evaluator")) &&
			strings.HasPrefix(got.body, test.body)
		if got.status != test.status || !same {
			t.Errorf("%.200s: got %d %q, want %d %q", test.request, got.status, got.body, test.status, test.body)
		}
	}
	if got := a.do("GET", "/v1/agent/health/service/id/web1", "", "Accept", "text/plain"); got.body != "passing" || got.header.Get("X-Consul-Reason") != "passing" {
		t.Errorf("in text: got %q, reason %q", got.body, got.header.Get("X-Consul-Reason"))
	}
	if got := a.do("PUT", "/v1/agent/service/register", strings.Repeat(" ", maxRegistration.bytes+1)); got.status != 413 {
		t.Errorf("a definition that is too large: got %d", got.status)
	}
}

// With its hash, a reader of a service waits until it is another.
func TestServiceHash(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, func(r *config.Runtime) { r.DefaultQueryTime, r.MaxQueryTime = time.Minute, time.Minute })
	agent := a.client().Agent()
	register := func(port int) {
		t.Helper()
		if err := agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: port}); err != nil {
			t.Fatal(err)
		}
	}
	register(1)
	first, meta, err := agent.Service("web", nil)
	if err != nil || first.ContentHash == "" || first.ContentHash != meta.LastContentHash {
		t.Fatalf("got %+v, %+v, %v", first, meta, err)
	}
	start := time.Now()
	same, _, err := agent.Service("web", &api.QueryOptions{WaitHash: first.ContentHash, WaitTime: 50 * time.Millisecond})
	if err != nil || same.ContentHash != first.ContentHash || time.Since(start) < 50*time.Millisecond {
		t.Errorf("unchanged: got %+v, %v after %v", same, err, time.Since(start))
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		register(2)
	}()
	next, _, err := agent.Service("web", &api.QueryOptions{WaitHash: first.ContentHash, WaitTime: time.Minute})
	if err != nil || next.Port != 2 || next.ContentHash == first.ContentHash {
		t.Errorf("changed: got %+v, %v", next, err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = agent.ServiceDeregister("web")
	}()
	if _, _, err := agent.Service("web", &api.QueryOptions{WaitHash: next.ContentHash, WaitTime: time.Minute}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("gone: got %v", err)
	}
	if got := a.do("GET", "/v1/agent/service/web?wait=x", ""); got.status != http.StatusBadRequest {
		t.Errorf("a bad wait: got %d", got.status)
	}
}

// Consul's client, as its users use it.
func TestClientLocal(t *testing.T) {
	t.Parallel()
	agent := newTestAPI(t, nil).client().Agent()
	err := agent.ServiceRegister(&api.AgentServiceRegistration{
		Name: "foo", Tags: []string{"bar"}, Port: 8000, Locality: &api.Locality{Region: "r", Zone: "z"},
		Checks: api.AgentServiceChecks{{TTL: "15s"}, {TTL: "30s", Status: "passing"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	checks, err := agent.ChecksWithFilter("Status == passing")
	if err != nil || len(checks) != 1 || checks["service:foo:2"] == nil {
		t.Errorf("checks: got %v, %v", checks, err)
	}
	if err := agent.UpdateTTL("service:foo:1", "fine", "pass"); err != nil {
		t.Error(err)
	}
	if status, info, err := agent.AgentHealthServiceByID("foo"); status != "passing" || err != nil || info.Service.Locality.Zone != "z" || len(info.Checks) != 2 {
		t.Errorf("health: got %s, %+v, %v", status, info, err)
	}
	if status, info, err := agent.AgentHealthServiceByID("nope"); status != "critical" || info != nil || err != nil {
		t.Errorf("health of nobody: got %s, %+v, %v", status, info, err)
	}
	if err := agent.EnableNodeMaintenance("broken"); err != nil {
		t.Error(err)
	}
	if status, _, err := agent.AgentHealthServiceByName("foo"); status != "critical" && status != "maintenance" || err != nil {
		t.Errorf("health in maintenance: got %s, %v", status, err)
	}
	if err := agent.CheckRegister(&api.AgentCheckRegistration{Name: "n", AgentServiceCheck: api.AgentServiceCheck{TTL: "1s", DeregisterCriticalServiceAfter: "nope"}}); err == nil || !strings.Contains(err.Error(), "invalid duration") {
		t.Errorf("a bad duration: got %v", err)
	}
}

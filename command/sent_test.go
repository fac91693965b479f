package command_test

import (
	"strings"
	"testing"
)

// TestWhatIsSent is about verbs whose output does not show what they asked for.
func TestWhatIsSent(t *testing.T) {
	f := newFake(t)
	workspace(t)
	for _, c := range []struct{ command, request, body string }{
		{"session create", "PUT /v1/session/create", `{"Behavior":"release","LockDelay":"15s"}`},
		{"session create -name=w -node=two -ttl=2s -expiry=exact -lock-delay=0s -behavior=delete -node-check=a -node-check=b -service-check=c",
			"PUT /v1/session/create", `{"Behavior":"delete","Expiry":"exact","LockDelay":"0s","Name":"w","Node":"two","NodeChecks":["a","b"],` +
				`"ServiceChecks":[{"ID":"c","Namespace":""}],"TTL":"2s"}`},
		{"session create -node-check=", "PUT /v1/session/create", `{"Behavior":"release","LockDelay":"15s","NodeChecks":[]}`},
		{"session list -datacenter=dc2 -stale", "GET /v1/session/list?dc=dc2&stale=", ""},
		{"event -name=deploy -node=^a -service=web -tag=v1 payload", "PUT /v1/event/fire/deploy?node=%5Ea&service=web&tag=v1", "payload"},
		{"catalog nodes -near=_agent -node-meta=rack=7 -filter=Node==one", "GET /v1/catalog/nodes?filter=Node%3D%3Done&near=_agent&node-meta=rack%3A7", ""},
		{"catalog nodes -service=web -near=two", "GET /v1/catalog/service/web?near=two", ""},
		{"catalog services -node-meta=a=b", "GET /v1/catalog/services?node-meta=a%3Ab", ""},
		{"services register -name=web -id=w1 -port=8080 -address=10.0.0.7 -tag=a -tag=b -meta=k=v -meta=x=y=z -tagged-address=wan=198.51.100.7:80",
			"PUT /v1/agent/service/register", `{"Address":"10.0.0.7","ID":"w1","Meta":{"k":"v","x":"y=z"},"Name":"web","Port":8080,` +
				`"TaggedAddresses":{"wan":{"Address":"198.51.100.7","Port":80}},"Tags":["a","b"]}`},
		{"services register web.hcl", "PUT /v1/agent/service/register", `{"checks":[{"id":"a","ttl":"30s"}],"meta":{"version":"1.4.2"},"name":"web",` +
			`"port":8080,"tagged_addresses":{"wan":{"address":"198.51.100.7","port":80}},"tags":["v1"]}`},
		{"services register two.hcl", "PUT /v1/agent/service/register", `{"check":{"ttl":"1m"},"id":"b2","name":"b"}`},
		{"services register db.json", "PUT /v1/agent/service/register", `{"EnableTagOverride":true,"ID":"db1","Name":"db"}`},
		{"services deregister two.hcl", "PUT /v1/agent/service/deregister/b2", ""},
		{"txn -stale @move.json", "PUT /v1/txn?stale=", `[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}},{"KV":{"Verb":"delete","Key":"b"}}]`},
		{`txn -format=json [{"KV":{"Verb":"check-fence","Key":"a.lock","Index":7}},{"KV":{"Verb":"set","Key":"a","Value":"MQ==","TTL":"30s"}},{"KV":{"Verb":"check-not-exists","Key":"b"}}]`, "PUT /v1/txn",
			`[{"KV":{"Verb":"check-fence","Key":"a.lock","Index":7}},{"KV":{"Verb":"set","Key":"a","Value":"MQ==","TTL":"30s"}},{"KV":{"Verb":"check-not-exists","Key":"b"}}]`},
		{"watch -type=service -service=web -tag=a -tag=b -passingonly -filter=x==y", "GET /v1/health/service/web?filter=x%3D%3Dy&passing=1&tag=a&tag=b", ""},
		{"watch -type=checks -service=web", "GET /v1/health/checks/web", ""},
		{"watch -type=checks -state=critical", "GET /v1/health/state/critical", ""},
		{"watch -type=event -name=deploy", "GET /v1/event/list?name=deploy", ""},
		{"watch -type=keyprefix -prefix=/app/ -stale", "GET /v1/kv/app/?recurse=&stale=", ""},
		{"watch -type=keyprefix -prefix=", "GET /v1/kv/?recurse=", ""},
	} {
		out := run(t, split(c.command)...)
		if got := f.log[len(f.log)-1]; got != c.request || strings.Contains(out, "exit") {
			t.Errorf("%s asked for %s, want %s; %s", c.command, got, c.request, out)
		}
		if got := strings.TrimSpace(f.bodies[len(f.bodies)-1]); got != c.body {
			t.Errorf("%s sent %s\nwant %s", c.command, got, c.body)
		}
	}
}

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

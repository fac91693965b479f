package command_test

import (
	"strings"
	"testing"
	"time"
)

// TestCoordinationAgainstAServer goes once through sessions, locks, transactions,
// services, events and watches, without a fake.
func TestCoordinationAgainstAServer(t *testing.T) {
	newServer(t)
	workspace(t)
	t.Setenv("SHELL", "")
	// One member is enough for a catalog, but it takes the new leader a moment.
	for range 100 {
		if strings.Contains(run(t, "catalog", "nodes"), "one ") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	session := strings.TrimSpace(run(t, "session", "create", "-name=worker", "-ttl=30s", "-expiry=exact"))
	for _, step := range []struct{ command, want string }{
		{"catalog datacenters", "dc1\n"},
		{"catalog nodes -service=consul", " 127.0.0.1  dc1\n"},
		{"session list", session + "  worker  one   30s exact  "},
		{"session info " + session, "\nLockDelay    15s\nChecks       serfHealth\n"},
		{"session renew " + session, " (it expires in 30s)\n"},
		{"session renew none", "There is no session none"},
		{"session create -node=nowhere", "Missing node registration"},
		{"kv put -acquire -session=" + session + " app/l me", "Success! Lock acquired on: app/l\n"},
		{`txn [{"KV":{"Verb":"check-fence","Key":"app/l","Index":1}},{"KV":{"Verb":"set","Key":"app/a","Value":"MQ==","TTL":"1m"}},{"KV":{"Verb":"get-tree","Key":"app/"}}]`,
			"2   get-tree     app/a    "},
		{`txn [{"KV":{"Verb":"check-fence","Key":"app/l","Index":2}},{"KV":{"Verb":"get","Key":"none"}},{"KV":{"Verb":"delete","Key":"app/a"}}]`,
			"!   operation 0, check-fence app/l: fenced: "},
		{`txn [{"KV":{"Verb":"get","Key":"app/a"}},{"Node":{"Verb":"get","Node":{"Node":"one"}}},{"Session":{"Verb":"delete","Session":{"ID":"` + session + `"}}}]`,
			"1   get     node one "},
		{"session info " + session, "There is no session " + session},
		{"lock app/x 'echo $PRAETOR_LOCK_KEY $PRAETOR_LOCK_INDEX; exit 3'", "app/x/.lock 1\n"},
		{"lock -child-exit-code app/x 'echo $PRAETOR_LOCK_INDEX; exit 3'", "2\n(exit 2)\n"},
		{"lock -n=2 app/s 'echo $PRAETOR_LOCK_KEY'", "app/s/"},
		{"lock -n=2 app/x true", "-n must be 1"},
		{"kv list -recurse app/s", ""},
		{"session list -format=json", "[]\n"},
		{"services register -name=web -port=8080 -tag=v1", "Registered service: web\n"},
		{"services register web.hcl", "Registered service: web\n"},
		{"catalog services -tags", "web     v1\n"},
		{"watch -type=service -service=web", `"Port": 8080`},
		{"watch -type=service -service=web -passingonly", "[]\n"},
		{"watch -type=checks -state=critical", `"CheckID": "a"`},
		{"services deregister web.hcl", "Deregistered service: web\n"},
		{"services deregister -id=web", `Unknown service ID "web"`},
		{"event -name=deploy 1.4.2", "Event ID: "},
		{"watch -type=key -key=app/a", `"Value": "MQ=="`},
		{"rtt one nowhere", `Could not find a coordinate for node "`},
		{"watch -type=nodes", `"Node": "one"`},
		{"watch -type=event", `"Payload": "MS40LjI="`},
	} {
		got := run(t, split(step.command)...)
		if !strings.Contains(got, step.want) || step.want == "" && got != "" {
			t.Errorf("praetor %s printed\n%s\nwithout %q", step.command, got, step.want)
		}
	}
}

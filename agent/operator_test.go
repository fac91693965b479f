package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/testutil"
)

func TestAutopilotHealthAndState(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	operator := a.client().Operator()
	health, err := operator.AutopilotServerHealth(nil)
	if err != nil || !health.Healthy || len(health.Servers) != 1 {
		t.Fatalf("health: got %+v, %v", health, err)
	}
	s := health.Servers[0]
	if s.Name != "node-a" || !s.Healthy || !s.Leader || !s.Voter || s.SerfStatus != "alive" || s.Version != "1.2.3" || *s.LastContact != 0 || s.StableSince.Nanosecond() != 0 {
		t.Errorf("health: got %+v", s)
	}
	state, err := operator.AutopilotState(nil)
	if err != nil {
		t.Fatal(err)
	}
	of := state.Servers[s.ID]
	if !state.Healthy || state.Leader != s.ID || len(state.Voters) != 1 || of.Name != "node-a" || !of.Healthy || of.Status != "leader" ||
		of.NodeStatus != "alive" || of.NodeType != "voter" || of.ReadReplica || of.Meta["role"] != "consul" {
		t.Errorf("state: got %+v", state)
	}
	if got := a.do("GET", "/v1/operator/autopilot/health?dc=nowhere", ""); got.status != 500 || got.body != "No path to datacenter" {
		t.Errorf("another datacenter: got %d %s", got.status, got.body)
	}
}

// When a server is missing, health says so in the status too.
func TestUnhealthyIs429(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	c := rpcserver.DefaultConfig()
	c.NodeName, c.NodeID = "node-b", "7b5a4b1c-0000-0000-0000-000000000002"
	c.RPCPort, c.SerfPort = 0, 0
	c.ReadReplica = true // a lost voter would leave no leader to ask
	other, err := rpcserver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Kill()
	if _, err := other.Join([]string{"127.0.0.1:" + portOf(a.agent)}); err != nil {
		t.Fatal(err)
	}
	await := func(status int, healthy bool) {
		t.Helper()
		testutil.Eventually(t, 30*time.Second, "health of two", func() error {
			got := a.do("GET", "/v1/operator/autopilot/health", "")
			if got.status != status || strings.Count(got.body, `"Name"`) != 2 || strings.HasPrefix(got.body, `{"Healthy":true`) != healthy {
				return fmt.Errorf("got %d %s", got.status, got.body)
			}
			return nil
		})
	}
	await(200, true)
	if got := a.do("PUT", "/v1/operator/autopilot/configuration", `{"CleanupDeadServers":false}`); got.body != "true" {
		t.Fatalf("set the configuration: got %d %s", got.status, got.body)
	}
	if state, err := a.client().Operator().AutopilotState(nil); err != nil || len(state.ReadReplicas) != 1 || !state.Servers[c.NodeID].ReadReplica {
		t.Errorf("state: got %+v, %v", state, err)
	}
	other.Kill()
	await(429, false)
}

func TestKeyringAnswers(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	const off = "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* node-a: Keyring is empty (encryption not enabled)" +
		"\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* node-a: Keyring is empty (encryption not enabled)\n\n"
	for _, test := range []struct {
		request string
		status  int
		body    string
	}{
		{"GET /v1/operator/keyring", 500, off},
		{`PUT /v1/operator/keyring {"Key":"AAAAAAAAAAAAAAAAAAAAAA=="}`, 500, strings.ReplaceAll(off, "Keyring is empty", "No keyring to modify")},
		{"GET /v1/operator/keyring?relay-factor=6", 400, "Invalid relay-factor: Relay factor must be in range: [0, 5]"},
		{"GET /v1/operator/keyring?relay-factor=x", 400, `Error parsing relay factor: strconv.Atoi: parsing "x": invalid syntax`},
		{"GET /v1/operator/keyring?local-only=x", 400, `Error parsing local-only: strconv.ParseBool: parsing "x": invalid syntax`},
		{"GET /v1/operator/keyring?dc=nowhere", 500, "No path to datacenter"},
		{`POST /v1/operator/keyring?local-only=true {"Key":"x"}`, 400, "Invalid use of local-only: local-only can only be set for list requests"},
		{"POST /v1/operator/keyring", 400, "Request decode failed: EOF"},
	} {
		method, rest, _ := strings.Cut(test.request, " ")
		target, body, _ := strings.Cut(rest, " ")
		if got := a.do(method, target, body); got.status != test.status || got.body != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.request, got.status, got.body, test.status, test.body)
		}
	}
}

package structs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/structs"
)

// The two ways in which people write a definition mean the same.
func TestDefinitionSpellings(t *testing.T) {
	t.Parallel()
	const camel = `{"ID":"w","Name":"web","EnableTagOverride":true,"SocketPath":"/s","TaggedAddresses":{"lan_x":{"Address":"a","Port":1}},
		"Meta":{"a_b":"c"},"Proxy":{"DestinationServiceName":"d","Config":{"k_k":1}},"Connect":{"Native":true},
		"Check":{"CheckID":"c","ScriptArgs":["x"],"DockerContainerID":"d","TLSSkipVerify":true,"GRPCUseTLS":true,"H2PingUseTLS":true,"Interval":"1s",
		"TTL":60000000000,"DeregisterCriticalServiceAfter":"90m"}}`
	const snake = `{"id":"w","name":"web","enable_tag_override":true,"socket_path":"/s","tagged_addresses":{"lan_x":{"address":"a","port":1}},
		"meta":{"a_b":"c"},"proxy":{"destination_service_name":"d","config":{"k_k":1}},"connect":{"native":true},
		"check":{"check_id":"c","args":["x"],"docker_container_id":"d","tls_skip_verify":true,"grpc_use_tls":true,"h2ping_use_tls":true,"interval":1000000000,
		"ttl":"1m","deregister_critical_service_after":"1h30m"}}`
	var a, b structs.ServiceDefinition
	if err := json.Unmarshal([]byte(camel), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(snake), &b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
	if a.Meta["a_b"] != "c" || a.Proxy.Config["k_k"] != int64(1) || !a.Connect.Native || time.Duration(a.Check.TTL) != time.Minute {
		t.Errorf("got %+v, check %+v", a, a.Check)
	}
	again, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	b = structs.ServiceDefinition{}
	if err := json.Unmarshal(again, &b); err != nil {
		t.Errorf("what was written cannot be read: %v", err)
	} else if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
}

func TestDefinitionErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"name":"a","no_pe":1}`:             `json: unknown field "no_pe"`,
		`{"name":"a","check":{"t_t_l_x":1}}`: `json: unknown field "t_t_l_x"`,
		`{"name":"a","connect":{"x":1}}`:     `json: unknown field "x"`,
		`{"name":"a","check":{"ttl":"x"}}`:   `time: invalid duration "x"`,
	} {
		var d structs.ServiceDefinition
		if err := json.Unmarshal([]byte(text), &d); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

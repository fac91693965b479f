package structs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/structs"
)

// A service as clients of Consul expect to see it: consul-http.md 7, exchange 19.
func TestServiceJSON(t *testing.T) {
	t.Parallel()
	s := structs.NodeService{
		ID: "redis1", Service: "redis", Tags: []string{"v1"}, Meta: map[string]string{"k": "v"}, Port: 6379,
		Weights: &structs.Weights{Passing: 1, Warning: 1},
	}
	text, err := json.Marshal(s)
	want := `{"ID":"redis1","Service":"redis","Tags":["v1"],"Address":"","Meta":{"k":"v"},"Port":6379,` +
		`"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},` +
		`"Connect":{},"PeerName":"","CreateIndex":0,"ModifyIndex":0}`
	if err != nil || string(text) != want {
		t.Errorf("got  %s, %v\nwant %s", text, err, want)
	}
}

func TestCheckDefinitionJSON(t *testing.T) {
	t.Parallel()
	const text = `{"TCP":"1.1.1.1","Interval":"5s","Timeout":"","TimeoutDuration":10000000000,"DeregisterCriticalServiceAfter":"0s","DeregisterCriticalServiceAfterDuration":20000000000}`
	var d structs.HealthCheckDefinition
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	want := structs.HealthCheckDefinition{TCP: "1.1.1.1", Interval: 5 * time.Second, Timeout: 10 * time.Second, DeregisterCriticalServiceAfter: 20 * time.Second}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	again, err := json.Marshal(d)
	if want := `{"TCP":"1.1.1.1","Interval":"5s","Timeout":"10s","DeregisterCriticalServiceAfter":"20s"}`; err != nil || string(again) != want {
		t.Errorf("got  %s, %v\nwant %s", again, err, want)
	}
	if err := json.Unmarshal([]byte(`{"Nope":1}`), &d); err == nil {
		t.Error("an unknown field is no error")
	}
	if text, err := json.Marshal(structs.HealthCheckDefinition{}); err != nil || string(text) != "{}" {
		t.Errorf("empty definition: got %s, %v, want {}", text, err)
	}
}

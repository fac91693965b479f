package agent

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	gometrics "github.com/hashicorp/go-metrics/compat"

	"praetor/agent/config"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.put("k", "v")
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	summary, err := a.client().Agent().Metrics()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, g := range summary.Gauges {
		found = found || g.Name == "consul."+hostname+".runtime.alloc_bytes" && g.Value > 0
	}
	if !found {
		t.Errorf("there is no gauge alloc_bytes in %v", summary.Gauges)
	}
	if summary.Timestamp == "" || summary.Points == nil {
		t.Errorf("got %+v", summary)
	}

	a.agent.metrics.collect()
	text, err := json.Marshal(a.agent.metrics.memory.Data())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`consul.kvs.apply.requests`, `consul.kvs.apply"`, `consul.api.http`, `v1.kv._`, `consul.raft.`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("nothing about %s", want)
		}
	}
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	off := newTestAPI(t, nil)
	if got := off.do("GET", "/v1/agent/metrics?format=prometheus", ""); got.status != 415 || got.header.Get("X-Consul-Reason") == "" {
		t.Errorf("turned off: got %d %s", got.status, got.body)
	}
	a := newTestAPI(t, func(r *config.Runtime) { r.Telemetry.PrometheusRetentionTime = time.Minute })
	a.put("k", "v")
	a.agent.metrics.collect()
	got := a.do("GET", "/v1/agent/metrics", "", "Accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
	if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("got %d %s", got.status, got.header.Get("Content-Type"))
	}
	for _, want := range []string{"runtime_alloc_bytes", "consul_kvs_apply", "go_goroutines"} {
		if !strings.Contains(got.body, want) {
			t.Errorf("nothing about %s", want)
		}
	}
}

// Agents in one process name and filter the same figures each in its own way.
func TestMetricsOfTwoAgents(t *testing.T) {
	t.Parallel()
	collect := func(telemetry config.Telemetry) *metrics {
		m, err := newMetrics(telemetry, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.close)
		return m
	}
	one := collect(config.Telemetry{MetricsPrefix: "one", FilterDefault: true, DisableHostname: true})
	two := collect(config.Telemetry{MetricsPrefix: "two", PrefixFilter: []string{"+two.keep", "-two.keep.not"}, DisableHostname: true})
	emit := func() {
		for _, key := range []string{"keep", "drop"} {
			gometrics.SetGauge([]string{key}, 1)
			gometrics.SetGauge([]string{key, "not"}, 1)
		}
	}
	emit()
	expect(t, one, "one.keep", "one.drop", "one.keep.not", "one.drop.not", "one.runtime.alloc_bytes")
	expect(t, two, "two.keep", "-two.drop", "-two.keep.not", "-two.runtime.alloc_bytes")
	two.reload(config.Telemetry{MetricsPrefix: "two", PrefixFilter: []string{"+two.drop.not"}, DisableHostname: true})
	emit()
	expect(t, two, "two.drop.not")
}

// expect looks for gauges; those that begin with - must not be there.
func expect(t *testing.T, m *metrics, names ...string) {
	t.Helper()
	found := map[string]bool{}
	for _, interval := range m.memory.Data() {
		interval.RLock()
		for name := range interval.Gauges {
			found[name] = true
		}
		interval.RUnlock()
	}
	for _, name := range names {
		bare, unwanted := strings.CutPrefix(name, "-")
		if found[bare] == unwanted {
			t.Errorf("gauge %s: got %t", bare, found[bare])
		}
	}
}

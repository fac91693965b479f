package agent

import (
	"encoding/json"
	"os"
	"slices"
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

	var names []string
	for _, s := range a.agent.metrics.sorted() {
		if s.in(interval(time.Now())).count+s.in(interval(time.Now())-1).count > 0 {
			names = append(names, s.id[2:])
		}
	}
	for _, want := range []string{"kvs.apply", "api.http;method=PUT;path=v1.kv._", "raft.apply"} {
		if !slices.Contains(names, want) {
			t.Errorf("nothing about %s in %q", want, names)
		}
	}
}

// Our summary of an interval is go-metrics' own.
func TestSummaryOfInterval(t *testing.T) {
	t.Parallel()
	ours, err := newMetrics(config.Telemetry{MetricsPrefix: "p", FilterDefault: true}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ours.close()
	ours.all.Store(&map[string]*series{})
	theirs := gometrics.NewInmemSink(time.Hour, 2*time.Hour)
	labels := []gometrics.Label{{Name: "a", Value: "b"}}
	for i := range 5 {
		v := float32(i * i)
		ours.series(gauge, []string{"g"}, labels).addAt(float64(v), 7)
		theirs.SetGaugeWithLabels([]string{"p", ours.host, "g"}, v, labels)
		ours.series(counter, []string{"c d"}, nil).addAt(float64(v), 7)
		theirs.IncrCounter([]string{"p", "c d"}, v)
		ours.series(sample, []string{"s"}, labels).addAt(float64(v), 7)
		theirs.AddSampleWithLabels([]string{"p", "s"}, v, labels)
	}
	display, err := theirs.DisplayMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Rates are over the length of the interval.
	summary := display.(gometrics.MetricsSummary)
	for _, values := range [][]gometrics.SampledValue{summary.Counters, summary.Samples} {
		values[0].Rate *= 3600.0 / intervalSeconds
	}
	summary.Timestamp = "1970-01-01 00:01:10 +0000 UTC"
	want, _ := json.Marshal(summary)
	got, err := json.Marshal(ours.summary(7))
	if err != nil || string(got) != string(want) {
		t.Errorf("got  %s\nwant %s\n%v", got, want, err)
	}
	if got := ours.summary(8); len(got.Gauges) != 0 {
		t.Errorf("the next interval: got %v", got)
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
	for _, at := range []int64{interval(time.Now()), interval(time.Now()) - 1} {
		for _, g := range m.summary(at).Gauges {
			found[g.Name] = true
		}
	}
	for _, name := range names {
		bare, unwanted := strings.CutPrefix(name, "-")
		if found[bare] == unwanted {
			t.Errorf("gauge %s: got %t", bare, found[bare])
		}
	}
}

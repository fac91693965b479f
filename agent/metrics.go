package agent

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	gometrics "github.com/hashicorp/go-metrics/compat"
	sink "github.com/hashicorp/go-metrics/compat/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"praetor/agent/config"
)

// collectEvery is half an interval, so that none is without gauges.
const collectEvery = intervalSeconds * time.Second / 2

// metrics are the figures of one agent. The libraries below us report to a
// global that belongs to the whole process: hub hands that on to every agent in
// it, and each names, filters and keeps the figures as it was configured.
//
// The raft library reports a dozen figures for every write. go-metrics' own sink
// in memory allocates five times for each, which made a write 15 % dearer.
type metrics struct {
	telemetry  config.Telemetry
	host       string               // begins the names of gauges; "" does not
	registry   *prometheus.Registry // nil: not for Prometheus
	prometheus gometrics.MetricSink // what the registry shows; nil if there is none
	first      int64                // interval in which we began
	lastGC     uint32
	stop       context.CancelFunc
	stopped    sync.WaitGroup

	all atomic.Pointer[map[string]*series] // by id; never changed, only replaced
	mu  sync.Mutex                         // for whoever replaces all, or the filters
}

// newMetrics starts to collect figures, until close.
func newMetrics(t config.Telemetry, _ hclog.Logger) (*metrics, error) {
	m := &metrics{telemetry: t, first: interval(time.Now())}
	m.all.Store(&map[string]*series{})
	if !t.DisableHostname {
		m.host = gometrics.DefaultConfig("").HostName
	}
	if t.PrometheusRetentionTime > 0 {
		m.registry = prometheus.NewRegistry()
		m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		var err error
		m.prometheus, err = sink.NewPrometheusSinkFrom(sink.PrometheusOpts{
			Expiration: t.PrometheusRetentionTime, Registerer: m.registry,
		})
		if err != nil {
			return nil, fmt.Errorf("metrics for Prometheus: %w", err)
		}
	}
	if err := globalHub.add(m); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	m.collect()
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.stopped.Go(func() { m.run(ctx) })
	return m, nil
}

// reload takes over new filters.
func (m *metrics) reload(t config.Telemetry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.telemetry.PrefixFilter, m.telemetry.FilterDefault = t.PrefixFilter, t.FilterDefault
	for _, s := range *m.all.Load() {
		s.dropped.Store(m.drops(s.name))
	}
}

// close ends the collecting. What was collected can still be read. A second
// call, or one on nil, is fine.
func (m *metrics) close() {
	if m == nil {
		return
	}
	globalHub.remove(m)
	m.stop()
	m.stopped.Wait()
}

func (m *metrics) run(ctx context.Context) {
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.collect()
		case <-ctx.Done():
			return
		}
	}
}

// collect reports what nobody else does: how the process is.
func (m *metrics) collect() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	for name, v := range map[string]uint64{
		"num_goroutines": uint64(runtime.NumGoroutine()),
		"alloc_bytes":    stats.Alloc, "sys_bytes": stats.Sys, "heap_objects": stats.HeapObjects,
		"malloc_count": stats.Mallocs, "free_count": stats.Frees,
		"total_gc_pause_ns": stats.PauseTotalNs, "total_gc_runs": uint64(stats.NumGC),
	} {
		m.series(gauge, []string{"runtime", name}, nil).add(float32(v))
	}
	pauses := m.series(sample, []string{"runtime", "gc_pause_ns"}, nil)
	for i := max(m.lastGC, stats.NumGC-min(stats.NumGC, 256)); i < stats.NumGC; i++ {
		pauses.add(float32(stats.PauseNs[i%256]))
	}
	m.lastGC = stats.NumGC
}

// series finds a figure, or makes it. That of a nil metrics is nil.
func (m *metrics) series(k kind, key []string, labels []gometrics.Label) *series {
	if m == nil {
		return nil
	}
	var space [160]byte
	id := append(space[:0], byte(k))
	for _, part := range key {
		id = append(append(id, '.'), part...)
	}
	for _, l := range labels {
		id = append(append(append(append(id, ';'), l.Name...), '='), l.Value...)
	}
	if s := (*m.all.Load())[string(id)]; s != nil {
		return s
	}
	return m.newSeries(string(id), k, key, labels)
}

func (m *metrics) newSeries(id string, k kind, key []string, labels []gometrics.Label) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := *m.all.Load()
	if s := before[id]; s != nil {
		return s
	}
	s := &series{id: id, kind: k, labels: slices.Clone(labels), prometheus: m.prometheus}
	if m.telemetry.MetricsPrefix != "" {
		s.key = append(s.key, m.telemetry.MetricsPrefix)
	}
	if k == gauge && m.host != "" {
		s.key = append(s.key, m.host)
	}
	s.key = append(s.key, key...)
	s.name = strings.ReplaceAll(strings.Join(s.key, "."), " ", "_")
	s.dropped.Store(m.drops(s.name))
	after := make(map[string]*series, len(before)+1)
	for id, s := range before {
		after[id] = s
	}
	after[id] = s
	m.all.Store(&after)
	return s
}

// drops reports whether the filters leave the figure out: the longest prefix
// decides. The caller holds mu.
func (m *metrics) drops(name string) bool {
	longest, drop := -1, !m.telemetry.FilterDefault
	for _, rule := range m.telemetry.PrefixFilter {
		prefix := strings.TrimLeft(rule, "+-")
		if strings.HasPrefix(name, prefix) && len(prefix) > longest {
			longest, drop = len(prefix), rule[0] == '-'
		}
	}
	return drop
}

// hub is the sink behind the global that libraries report to.
type hub struct {
	mu     sync.Mutex // one change of agents at a time
	agents atomic.Pointer[[]*metrics]
	global *gometrics.Metrics
}

var globalHub hub

func (h *hub) add(m *metrics) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.agents.Store(new(append(slices.Clone(h.all()), m)))
	if h.global != nil {
		return nil
	}
	c := gometrics.DefaultConfig("")
	c.EnableHostname, c.EnableRuntimeMetrics = false, false
	var err error
	h.global, err = gometrics.NewGlobal(c, h)
	return err
}

func (h *hub) remove(m *metrics) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.agents.Store(new(slices.DeleteFunc(slices.Clone(h.all()), func(other *metrics) bool { return other == m })))
}

func (h *hub) all() []*metrics {
	if agents := h.agents.Load(); agents != nil {
		return *agents
	}
	return nil
}

func (h *hub) report(k kind, key []string, v float32, labels []gometrics.Label) {
	for _, m := range h.all() {
		m.series(k, key, labels).add(v)
	}
}

// The methods that make the hub a gometrics.MetricSink.

// SetGauge takes a value.
func (h *hub) SetGauge(key []string, v float32) { h.report(gauge, key, v, nil) }

// SetGaugeWithLabels takes a value.
func (h *hub) SetGaugeWithLabels(key []string, v float32, labels []gometrics.Label) {
	h.report(gauge, key, v, labels)
}

// EmitKey takes a point; nothing below us has any.
func (h *hub) EmitKey([]string, float32) {}

// IncrCounter takes a count.
func (h *hub) IncrCounter(key []string, v float32) { h.report(counter, key, v, nil) }

// IncrCounterWithLabels takes a count.
func (h *hub) IncrCounterWithLabels(key []string, v float32, labels []gometrics.Label) {
	h.report(counter, key, v, labels)
}

// AddSample takes a measurement.
func (h *hub) AddSample(key []string, v float32) { h.report(sample, key, v, nil) }

// AddSampleWithLabels takes a measurement.
func (h *hub) AddSampleWithLabels(key []string, v float32, labels []gometrics.Label) {
	h.report(sample, key, v, labels)
}

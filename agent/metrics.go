package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	gometrics "github.com/hashicorp/go-metrics/compat"
	gometricsprometheus "github.com/hashicorp/go-metrics/compat/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"praetor/agent/config"
)

const (
	metricsInterval = 10 * time.Second // one summary each
	metricsRetain   = time.Minute
	collectEvery    = 5 * time.Second // twice an interval, so that none is without gauges
	sampleEvery     = 10 * time.Millisecond
)

// metrics are the figures of one agent. The libraries below us report to a
// global that belongs to the whole process: hub hands that on to every agent in
// it, and each names, filters and keeps the figures as it was configured.
type metrics struct {
	logger   hclog.Logger
	memory   *gometrics.InmemSink
	registry *prometheus.Registry // nil: not for Prometheus
	sinks    gometrics.FanoutSink
	front    atomic.Pointer[gometrics.Metrics] // names and filters; reload puts in another
	stop     context.CancelFunc
	stopped  sync.WaitGroup

	mu      sync.Mutex // guards routers
	routers []*router
}

// newMetrics starts to collect figures, until close.
func newMetrics(t config.Telemetry, logger hclog.Logger) (*metrics, error) {
	m := &metrics{
		logger: logger.Named("metrics"),
		memory: gometrics.NewInmemSink(metricsInterval, metricsRetain),
	}
	m.sinks = gometrics.FanoutSink{m.memory}
	if t.PrometheusRetentionTime > 0 {
		m.registry = prometheus.NewRegistry()
		m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		sink, err := gometricsprometheus.NewPrometheusSinkFrom(gometricsprometheus.PrometheusOpts{
			Expiration: t.PrometheusRetentionTime, Registerer: m.registry,
		})
		if err != nil {
			return nil, fmt.Errorf("metrics for Prometheus: %w", err)
		}
		m.sinks = append(m.sinks, sink)
	}
	front, err := newFront(t, m.sinks)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	m.front.Store(front)
	if err := globalHub.add(m); err != nil {
		return nil, err
	}
	m.collect()
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.stopped.Go(func() { m.run(ctx) })
	return m, nil
}

func newFront(t config.Telemetry, sinks gometrics.MetricSink) (*gometrics.Metrics, error) {
	c := gometrics.DefaultConfig(t.MetricsPrefix)
	c.EnableHostname = !t.DisableHostname
	c.EnableRuntimeMetrics = false // its goroutine never ends: collect does the same
	c.FilterDefault = t.FilterDefault
	for _, rule := range t.PrefixFilter {
		if prefix, ok := strings.CutPrefix(rule, "+"); ok {
			c.AllowedPrefixes = append(c.AllowedPrefixes, prefix)
		} else {
			c.BlockedPrefixes = append(c.BlockedPrefixes, strings.TrimPrefix(rule, "-"))
		}
	}
	return gometrics.New(c, sinks)
}

// reload takes over new filters.
func (m *metrics) reload(t config.Telemetry) {
	front, err := newFront(t, m.sinks)
	if err != nil {
		m.logger.Error("metrics keep their old filters", "error", err)
		return
	}
	m.front.Store(front)
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

// collect reports what is not reported as it happens.
func (m *metrics) collect() {
	front := m.front.Load()
	front.EmitRuntimeStats()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.routers {
		for t := range r.timers() {
			if n := t.count.Swap(0); n > 0 {
				front.IncrCounterWithLabels(t.counted, float32(n), t.labels)
			}
		}
	}
}

// watch has the requests that the router's timers count reported.
func (m *metrics) watch(r *router) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routers = append(m.routers, r)
}

// timer measures something that happens often: everything is counted, but no
// more than a hundred a second are timed, since that costs more than to serve
// some of the requests.
type timer struct {
	key     []string
	counted []string
	labels  []gometrics.Label
	count   atomic.Uint64 // since the last collect
	last    atomic.Int64  // when one was timed, in ns since 1970
}

// names says under which key samples are reported; requests under it are all counted.
func (t *timer) names(key ...string) {
	t.key, t.counted = key, append(slices.Clone(key), "requests")
}

// done notes that something that began at start is done.
func (t *timer) done(m *metrics, start time.Time) {
	if m == nil {
		return
	}
	t.count.Add(1)
	took := time.Since(start)
	now := start.UnixNano() + int64(took)
	if last := t.last.Load(); now-last >= int64(sampleEvery) && t.last.CompareAndSwap(last, now) {
		m.front.Load().AddSampleWithLabels(t.key, float32(took)/float32(time.Millisecond), t.labels)
	}
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
	if h.global == nil {
		c := gometrics.DefaultConfig("")
		c.EnableHostname, c.EnableRuntimeMetrics = false, false
		var err error
		if h.global, err = gometrics.NewGlobal(c, h); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	h.set(append(slices.Clone(h.all()), m))
	return nil
}

func (h *hub) remove(m *metrics) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(slices.DeleteFunc(slices.Clone(h.all()), func(other *metrics) bool { return other == m }))
}

func (h *hub) set(agents []*metrics) { h.agents.Store(&agents) }

func (h *hub) all() []*metrics {
	if agents := h.agents.Load(); agents != nil {
		return *agents
	}
	return nil
}

// SetGauge, EmitKey, IncrCounter and AddSample, with labels or without, make the
// hub a gometrics.MetricSink.
func (h *hub) SetGauge(key []string, v float32) { h.SetGaugeWithLabels(key, v, nil) }

// SetGaugeWithLabels passes a gauge on.
func (h *hub) SetGaugeWithLabels(key []string, v float32, labels []gometrics.Label) {
	for _, m := range h.all() {
		m.front.Load().SetGaugeWithLabels(key, v, labels)
	}
}

// EmitKey passes a point on.
func (h *hub) EmitKey(key []string, v float32) {
	for _, m := range h.all() {
		m.front.Load().EmitKey(key, v)
	}
}

// IncrCounter passes a count on.
func (h *hub) IncrCounter(key []string, v float32) { h.IncrCounterWithLabels(key, v, nil) }

// IncrCounterWithLabels passes a count on.
func (h *hub) IncrCounterWithLabels(key []string, v float32, labels []gometrics.Label) {
	for _, m := range h.all() {
		m.front.Load().IncrCounterWithLabels(key, v, labels)
	}
}

// AddSample passes a sample on.
func (h *hub) AddSample(key []string, v float32) { h.AddSampleWithLabels(key, v, nil) }

// AddSampleWithLabels passes a sample on.
func (h *hub) AddSampleWithLabels(key []string, v float32, labels []gometrics.Label) {
	for _, m := range h.all() {
		m.front.Load().AddSampleWithLabels(key, v, labels)
	}
}

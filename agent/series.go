package agent

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gometrics "github.com/hashicorp/go-metrics/compat"
)

// kind is what a figure says.
type kind byte

const (
	gauge   kind = iota // how much there is: the last value counts
	counter             // how much there was: values add up
	sample              // how large each was
)

// intervalSeconds is how much time one summary is about.
const intervalSeconds = 10

// interval numbers the intervals.
func interval(at time.Time) int64 { return at.Unix() / intervalSeconds }

// series is one figure over time: in this interval and in the one before.
type series struct {
	id         string
	kind       kind
	key        []string // with its prefix
	name       string   // the key with dots
	labels     []gometrics.Label
	prometheus gometrics.MetricSink // gets every value as well, unless nil
	dropped    atomic.Bool          // by the filters

	mu          sync.Mutex // guards the fields below
	now, before window
}

// window is what was reported in one interval.
type window struct {
	interval                  int64
	count                     int
	sum, squares, least, most float64
}

// add takes in a value. A nil series does not keep it.
func (s *series) add(v float32) {
	if s == nil || s.dropped.Load() {
		return
	}
	s.addAt(float64(v), interval(time.Now()))
	switch {
	case s.prometheus == nil:
	case s.kind == gauge:
		s.prometheus.SetGaugeWithLabels(s.key, v, s.labels)
	case s.kind == counter:
		s.prometheus.IncrCounterWithLabels(s.key, v, s.labels)
	default:
		s.prometheus.AddSampleWithLabels(s.key, v, s.labels)
	}
}

func (s *series) addAt(v float64, interval int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.interval != interval {
		s.before = s.now
		s.now = window{interval: interval, least: v, most: v}
	}
	if s.kind == gauge {
		s.now.count, s.now.sum = 1, v
		return
	}
	s.now.count++
	s.now.sum += v
	s.now.squares += v * v
	s.now.least, s.now.most = min(s.now.least, v), max(s.now.most, v)
}

// since takes in, in milliseconds, how long something took that began at start.
func (s *series) since(start time.Time) {
	if s != nil {
		s.add(float32(time.Since(start)) / float32(time.Millisecond))
	}
}

// in returns what was reported in an interval; its count is 0 if nothing was.
func (s *series) in(interval int64) window {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch interval {
	case s.now.interval:
		return s.now
	case s.before.interval:
		return s.before
	}
	return window{}
}

// metricsSummary is the JSON of one interval, in Consul's shape.
type metricsSummary struct {
	Timestamp string
	Gauges    []gaugeValue
	Points    []struct{}
	Counters  []sampledValue
	Samples   []sampledValue
}

type gaugeValue struct {
	Name   string
	Value  float32
	Labels map[string]string
}

type sampledValue struct {
	Name                              string
	Count                             int
	Rate, Sum, Min, Max, Mean, Stddev float64
	Labels                            map[string]string
}

// lastInterval is the last one that is over, or the first one while there is no
// other.
func (m *metrics) lastInterval() int64 { return max(m.first, interval(time.Now())-1) }

func (m *metrics) summary(interval int64) metricsSummary {
	sum := metricsSummary{
		Timestamp: time.Unix(interval*intervalSeconds, 0).UTC().String(),
		Gauges:    []gaugeValue{}, Points: []struct{}{}, Counters: []sampledValue{}, Samples: []sampledValue{},
	}
	for _, s := range m.sorted() {
		w := s.in(interval)
		if w.count == 0 || s.dropped.Load() {
			continue
		}
		labels := make(map[string]string, len(s.labels))
		for _, l := range s.labels {
			labels[l.Name] = l.Value
		}
		n := float64(w.count)
		value := sampledValue{
			Name: s.name, Count: w.count, Rate: w.sum / intervalSeconds, Sum: w.sum, Min: w.least, Max: w.most,
			Mean: w.sum / n, Labels: labels,
		}
		if w.count > 1 {
			value.Stddev = math.Sqrt(max(0, n*w.squares-w.sum*w.sum) / (n * (n - 1)))
		}
		switch s.kind {
		case gauge:
			sum.Gauges = append(sum.Gauges, gaugeValue{s.name, float32(w.sum), labels})
		case counter:
			sum.Counters = append(sum.Counters, value)
		case sample:
			sum.Samples = append(sum.Samples, value)
		}
	}
	return sum
}

func (m *metrics) sorted() []*series {
	var all []*series
	for _, s := range *m.all.Load() {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *series) int { return cmp.Compare(a.id, b.id) })
	return all
}

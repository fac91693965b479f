package agent

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// agentMetrics answers with the figures of the last whole interval, or with all
// of them for Prometheus.
func agentMetrics(c *exchange) error {
	if c.metrics == nil {
		return notOurs("this agent collects no metrics")
	}
	if wantsPrometheus(c) {
		if c.metrics.registry == nil {
			const reason = "Prometheus is not enabled: set telemetry.prometheus_retention_time"
			c.w.Header().Set("X-Consul-Reason", reason)
			return &statusError{http.StatusUnsupportedMediaType, reason}
		}
		promhttp.HandlerFor(c.metrics.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(c.w, c.r)
		return nil
	}
	return c.reply(c.metrics.summary(c.metrics.lastInterval()))
}

func wantsPrometheus(c *exchange) bool {
	if c.query.get("format") == "prometheus" {
		return true
	}
	for _, accept := range c.r.Header["Accept"] {
		accept = strings.ReplaceAll(accept, " ", "")
		if strings.Contains(accept, "application/openmetrics-text") || strings.Contains(accept, "text/plain;version=0.4.0") ||
			strings.Contains(accept, "text/plain;version=0.0.4") {
			return true
		}
	}
	return false
}

// agentMetricsStream answers with each interval's figures as it ends.
func agentMetricsStream(c *exchange) error {
	if c.metrics == nil {
		return notOurs("this agent collects no metrics")
	}
	c.w.Header()["Content-Type"] = typeJSON
	c.w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(c.w)
	_ = flush.Flush()
	out := json.NewEncoder(flusher{c.w, flush})
	out.SetIndent("", "    ")
	for {
		at := interval(time.Now())
		select {
		case <-time.After(time.Until(time.Unix((at+1)*intervalSeconds, 0))):
		case <-c.r.Context().Done():
			return nil
		case <-c.server.Done():
			return nil
		}
		if err := out.Encode(c.metrics.summary(at)); err != nil {
			return nil // the client has hung up
		}
	}
}

// flusher sends every write on at once.
type flusher struct {
	http.ResponseWriter
	flush *http.ResponseController
}

// Write writes and flushes.
func (f flusher) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = f.flush.Flush()
	}
	return n, err
}

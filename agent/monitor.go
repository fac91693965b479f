package agent

import (
	"net/http"

	"github.com/hashicorp/go-hclog"
)

// monitorLines is how many log lines may wait for a client that reads slowly;
// what comes on top is lost to it.
const monitorLines = 512

// agentMonitor answers with the log as it is written, until the client hangs up
// or the server stops.
func agentMonitor(c *exchange) error {
	level := hclog.Info
	if name := c.query.get("loglevel"); name != "" {
		if level = hclog.LevelFromString(name); level == hclog.NoLevel {
			return badRequest("Unknown log level: %s", name)
		}
	}
	logger, ok := c.logger.(hclog.InterceptLogger)
	if !ok {
		return notOurs("this agent's log cannot be watched")
	}
	lines := make(lineQueue, monitorLines)
	sink := hclog.NewSinkAdapter(&hclog.LoggerOptions{Level: level, JSONFormat: c.query.has("logjson"), Output: lines})
	logger.RegisterSink(sink)
	defer logger.DeregisterSink(sink)

	c.w.Header()["Content-Type"] = typeText
	c.w.WriteHeader(http.StatusOK)
	out := flusher{c.w, http.NewResponseController(c.w)}
	_ = out.flush.Flush()
	for {
		select {
		case line := <-lines:
			if _, err := out.Write(line); err != nil {
				return nil
			}
		case <-c.r.Context().Done():
			return nil
		case <-c.server.Done():
			return nil
		}
	}
}

// lineQueue takes log lines without ever waiting.
type lineQueue chan []byte

// Write takes one line, or drops it.
func (q lineQueue) Write(line []byte) (int, error) {
	select {
	case q <- append([]byte(nil), line...):
	default:
	}
	return len(line), nil
}

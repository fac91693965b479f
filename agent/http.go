package agent

import (
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	"praetor/agent/config"
)

// httpAPI answers HTTP requests. What is below /v1 behaves as Consul's, down to the
// texts of its errors: existing clients look at them.
type httpAPI struct {
	agent     *Agent
	router    *router
	writeFrom []netip.Prefix // networks that may change things; none: all
	date      dateHeader
}

// handler returns the HTTP API. Call it once per agent.
func (a *Agent) handler() http.Handler {
	h := &httpAPI{agent: a, router: newRouter(a.metrics)}
	for _, network := range a.config.HTTPConfig.AllowWriteHTTPFrom {
		prefix, err := netip.ParsePrefix(network)
		if err != nil { // checked by config.Load; were it not, nobody may write
			a.logger.Error("allow_write_http_from: not a network", "network", network, "error", err)
		}
		h.writeFrom = append(h.writeFrom, prefix.Masked())
	}
	return h
}

// Values of headers, made once: net/http copies them when it writes them.
var (
	typeJSON     = []string{"application/json"}
	typeText     = []string{"text/plain; charset=utf-8"}
	typeRaw      = []string{"text/plain"}
	typeGzip     = []string{"application/x-gzip"}
	nosniff      = []string{"nosniff"}
	varyEncoding = []string{"Accept-Encoding"}
	policyAllow  = []string{"allow"}
	connClose    = []string{"close"}
	encodingGzip = []string{"gzip"}
)

// ServeHTTP does what all endpoints have in common: headers, rules about who may
// ask what, and the parameters that mean the same everywhere.
func (h *httpAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	settings := h.agent.settings()
	header := w.Header()
	h.date.set(header, start)
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		h.agent.setEpoch(header, h.agent.server.Epoch())
	}
	for name, value := range settings.HTTPConfig.ResponseHeaders {
		header.Set(name, value)
	}
	if !h.agent.config.DisableHTTPUnprintableCharFilter && !printable(r.URL.Path) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	e := h.router.find(r.URL.Path)
	if e == nil || !holdsKeys(e.path) && strings.HasSuffix(e.path, "/") {
		if to, ok := h.cleaned(r.URL.Path); ok {
			http.Redirect(w, r, (&url.URL{Path: to, RawQuery: r.URL.RawQuery}).String(), http.StatusTemporaryRedirect)
			return
		}
	}
	if e == nil {
		notFound(w, r)
		return
	}
	header["Vary"] = varyEncoding
	header["X-Consul-Default-Acl-Policy"] = policyAllow

	c := newExchange(h, settings, w, r, e)
	m := e.find(r.Method)
	if err := h.serve(c, e, m); err != nil {
		c.fail(err)
	}
	c.release() // not after a panic: who knows who still has it
	if m != nil {
		m.timed.since(start)
	}
}

func (h *httpAPI) serve(c *exchange, e *endpoint, m *endpointMethod) error {
	for _, prefix := range h.agent.config.HTTPConfig.BlockEndpoints {
		if strings.HasPrefix(c.r.URL.Path, prefix) {
			return &statusError{http.StatusForbidden, "Endpoint is blocked by agent configuration"}
		}
	}
	if m == nil {
		c.w.Header()["Allow"] = e.allow
		if c.r.Method == http.MethodOptions {
			c.send(http.StatusOK, nil, nil)
			return nil
		}
		return &statusError{http.StatusMethodNotAllowed, "method " + c.r.Method + " not allowed"}
	}
	if len(h.writeFrom) > 0 && c.r.Method != http.MethodGet && !h.mayWrite(c.r.RemoteAddr) {
		return &statusError{http.StatusForbidden, "Access is restricted"}
	}
	if err := c.readParameters(); err != nil {
		return err
	}
	return m.serve(c)
}

// mayWrite reports whether the peer is in one of the networks that may.
func (h *httpAPI) mayWrite(peer string) bool {
	addr, err := netip.ParseAddrPort(peer)
	if err != nil {
		return false // a Unix socket: it is in no network
	}
	for _, network := range h.writeFrom {
		if network.Contains(addr.Addr().Unmap()) {
			return true
		}
	}
	return false
}

func printable(path string) bool {
	for _, r := range path {
		if r < ' ' || r > '~' && !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// cleaned returns where a path with double slashes, dots or a missing last slash
// should have pointed. Keys are not paths: nothing is cleaned below /v1/kv/ and
// /v1/watch/kv/, and nobody is sent there with a key they did not write.
func (h *httpAPI) cleaned(asked string) (string, bool) {
	clean := path.Clean("/" + asked)
	if strings.HasSuffix(asked, "/") && clean != "/" {
		clean += "/"
	}
	if h.router.exact[clean] == nil && h.router.exact[clean+"/"] != nil {
		clean += "/"
	}
	for _, path := range []string{kvPath, watchKVPath} {
		if strings.HasPrefix(clean, path) && clean != path {
			return "", false
		}
	}
	return clean, clean != asked
}

const (
	textNoEndpoint = "Invalid URL path: not a recognized HTTP API endpoint\n"
	textNotV1      = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
	textRoot       = "Praetor agent: there is no web UI here. The HTTP API is below /v1/.\n"
)

var errNoEndpoint = &statusError{http.StatusNotFound, textNotV1}

// notFound answers for every path that is not in the table.
func notFound(w http.ResponseWriter, r *http.Request) {
	status, text := http.StatusNotFound, textNotV1
	switch {
	case r.URL.Path == "/":
		status, text = http.StatusOK, textRoot
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		w.Header()["X-Consul-Default-Acl-Policy"] = policyAllow
		text = textNoEndpoint
	}
	w.Header()["Content-Type"] = typeText
	w.Header()["X-Content-Type-Options"] = nosniff
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(text))
	}
}

// limit is how large a body may be, and the setting that says so.
type limit struct {
	bytes int
	knob  string
}

func valueLimit(r *config.Runtime) limit {
	return limit{r.Limits.KVMaxValueSize, "limits.kv_max_value_size"}
}

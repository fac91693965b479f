package agent

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"praetor/agent/config"
	"praetor/structs"
)

// exchange is one request and the reply to it. Handlers must not keep it.
type exchange struct {
	*Agent
	router   *router
	settings *config.Runtime // as last reloaded
	w        http.ResponseWriter
	r        *http.Request
	rest     string // path behind that of the endpoint
	query    query
	pretty   bool
	buf      []byte // room to encode the reply in
	dated    bool   // the reply says of which epoch what was read is
}

var exchanges = sync.Pool{New: func() any { return &exchange{query: make(query, 0, 8)} }}

// keepBuffer is the largest buffer in bytes that is kept for the next request.
const keepBuffer = 64 << 10

func newExchange(h *httpAPI, settings *config.Runtime, w http.ResponseWriter, r *http.Request, e *endpoint) *exchange {
	c := exchanges.Get().(*exchange)
	c.Agent, c.router, c.settings, c.w, c.r = h.agent, h.router, settings, w, r
	c.rest = strings.TrimPrefix(r.URL.Path, e.path)
	return c
}

func (c *exchange) release() {
	clear(c.query)
	kept := exchange{query: c.query[:0], buf: c.buf[:0]}
	if cap(kept.buf) > keepBuffer {
		kept.buf = nil
	}
	*c = kept
	exchanges.Put(c)
}

// statusError is a failure of the HTTP layer itself.
type statusError struct {
	status int
	text   string
}

// Error returns the body of the reply.
func (e *statusError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// statuses are the HTTP statuses of error codes. All others are 500: Consul's
// clients try again after that one only, see consul-http.md 1.5.
var statuses = map[structs.Code]int{
	structs.TooLarge:    http.StatusRequestEntityTooLarge,
	structs.Busy:        http.StatusTooManyRequests,
	structs.Unsupported: http.StatusNotImplemented,
	structs.Fenced:      http.StatusConflict,
	structs.DiskFull:    http.StatusInsufficientStorage,
}

func statusOf(err error) int {
	if e := (*statusError)(nil); errors.As(err, &e) {
		return e.status
	}
	if status, ok := statuses[structs.CodeOf(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// fail answers with an error, unless nobody is there any more to read it.
func (c *exchange) fail(err error) {
	if c.r.Context().Err() != nil {
		return
	}
	status := statusOf(err)
	if status == http.StatusRequestEntityTooLarge {
		c.w.Header()["Connection"] = connClose
	}
	c.send(status, typeText, []byte(err.Error()))
}

// gzipFrom is the size in bytes from which compressing a body is worth it.
const gzipFrom = 1400

// send answers with a body that is all there.
func (c *exchange) send(status int, contentType []string, body []byte) {
	header := c.w.Header()
	if !c.dated {
		c.setEpoch(header, c.server.Epoch())
	}
	if contentType != nil {
		header["Content-Type"] = contentType
	}
	if len(body) >= gzipFrom {
		if acceptsGzip(c.r) {
			header["Content-Encoding"] = encodingGzip
			body = compressed(body)
		}
		header["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	c.w.WriteHeader(status)
	if len(body) > 0 {
		_, _ = c.w.Write(body) // the client has hung up: nobody to tell
	}
}

func acceptsGzip(r *http.Request) bool {
	for _, value := range r.Header["Accept-Encoding"] {
		for coding := range strings.SplitSeq(value, ",") {
			name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
			if strings.TrimSpace(name) != "gzip" {
				continue
			}
			q, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
			number, err := strconv.ParseFloat(q, 64)
			return !ok || err == nil && number > 0
		}
	}
	return false
}

var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return z
}}

func compressed(body []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(body)/2 + 64)
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(&out)
	_, _ = z.Write(body) // a Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// sendJSON answers with a value that is already JSON.
func (c *exchange) sendJSON(text []byte) error { return c.sendJSONAs(http.StatusOK, text) }

func (c *exchange) sendJSONAs(status int, text []byte) error {
	if c.pretty || c.config.Dev {
		var out bytes.Buffer
		if err := json.Indent(&out, text, "", "    "); err != nil {
			return err
		}
		if c.pretty {
			out.WriteByte('\n')
		}
		text = out.Bytes()
	}
	c.send(status, typeJSON, text)
	return nil
}

// reply answers with a value as JSON.
func (c *exchange) reply(v any) error { return c.replyAs(http.StatusOK, v) }

// replyAs is reply where the status says something as well.
func (c *exchange) replyAs(status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.sendJSONAs(status, text)
}

// done answers that something was done, in Consul's way: with nothing.
func (c *exchange) done() error {
	c.send(http.StatusOK, typeJSON, nil)
	return nil
}

func (c *exchange) replyBool(ok bool) error {
	if ok {
		return c.sendJSON(jsonTrue)
	}
	return c.sendJSON(jsonFalse)
}

var (
	jsonTrue     = []byte("true")
	jsonFalse    = []byte("false")
	textTrue     = []string{"true"}
	textFalse    = []string{"false"}
	textZero     = []string{"0"}
	textBlocking = []string{"blocking-query"}
)

// setMeta sets the headers of a read that has an index.
func (c *exchange) setMeta(m *structs.QueryMeta) {
	header := c.w.Header()
	header["X-Consul-Index"] = []string{strconv.FormatUint(max(m.Index, 1), 10)}
	header["X-Consul-Query-Backend"] = textBlocking
	c.setContact(m)
}

// setContact sets the headers that say how fresh an answer is, and of which epoch.
func (c *exchange) setContact(m *structs.QueryMeta) {
	header := c.w.Header()
	if m.Epoch != "" {
		c.setEpoch(header, m.Epoch)
		c.dated = true
	}
	header["X-Consul-Lastcontact"] = textZero
	if m.LastContact > 0 {
		header["X-Consul-Lastcontact"] = []string{strconv.FormatInt(m.LastContact.Milliseconds(), 10)}
	}
	header["X-Consul-Knownleader"] = textFalse
	if m.KnownLeader {
		header["X-Consul-Knownleader"] = textTrue
	}
}

// call runs a method in process.
func (c *exchange) call(method string, args, reply any) error {
	return c.server.Call(c.r.Context(), method, args, reply)
}

// read runs a method that reads. An answer staler than the request allows is
// asked for once more, of the leader.
func (c *exchange) read(method string, q *structs.QueryOptions, args, reply any, meta *structs.QueryMeta) error {
	err := c.call(method, args, reply)
	if err == nil && q.MaxStaleDuration > 0 && meta.LastContact > q.MaxStaleDuration {
		q.AllowStale = false
		err = c.call(method, args, reply)
	}
	return err
}

// body reads the request's body. What is over the limit is not read.
func (c *exchange) body(max limit) ([]byte, error) {
	n := c.r.ContentLength
	switch {
	case n == 0:
		return nil, nil
	case n > int64(max.bytes):
		return nil, structs.Errorf(structs.TooLarge, "Request body(%d bytes) too large, max size: %d bytes. See %s.", n, max.bytes, max.knob)
	case n > 0:
		body := make([]byte, n)
		if _, err := io.ReadFull(c.r.Body, body); err != nil {
			return nil, badRequest("Request body cannot be read: %v", err)
		}
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, int64(max.bytes)+1))
	if err != nil {
		return nil, badRequest("Request body cannot be read: %v", err)
	}
	if len(body) > max.bytes {
		return nil, structs.Errorf(structs.TooLarge, "Request body too large, max size: %d bytes. See %s.", max.bytes, max.knob)
	}
	return body, nil
}

// conflicting refuses a request that has more than one of the parameters.
func (c *exchange) conflicting(names ...string) error {
	found := 0
	for _, name := range names {
		if c.query.has(name) {
			found++
		}
	}
	if found < 2 {
		return nil
	}
	all, _ := url.ParseQuery(c.r.URL.RawQuery)
	return badRequest("Conflicting flags: %s\n", all.Encode())
}

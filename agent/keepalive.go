package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http/httpguts"
)

// keyServer answers requests for keys on connections without TLS. It is a loop
// around net/http's own parser: read a request, call the handler, write the
// reply in one piece. net/http's loop does the same with a goroutine and two
// deadlines for every request, which are half of the cost of a PUT
// (docs/performance.md). Whatever is not a plain request for a key goes to
// net/http unread, and its connection with it, for good.
type keyServer struct {
	handler http.Handler
	hangups hangups
	others  *handover
	ctx     context.Context // of all requests
	logger  hclog.Logger

	stopping atomic.Bool
	serving  sync.WaitGroup
	mu       sync.Mutex // guards the field below
	conns    map[*keyConn]struct{}
}

func newKeyServer(ctx context.Context, logger hclog.Logger) *keyServer {
	return &keyServer{ctx: ctx, logger: logger, others: newHandover(), conns: map[*keyConn]struct{}{}}
}

const (
	headRoom = 4 << 10  // bytes: a longer head is not for us
	bodyRoom = 64 << 10 // bytes: so is a longer body
	outRoom  = 16 << 10 // bytes of a body that are copied behind its head
)

// accept serves every connection of a listener until it is closed.
func (s *keyServer) accept(l net.Listener) error {
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // too many files are open: others will be closed
			s.logger.Warn("cannot accept a connection", "error", err, "again_in", pause)
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		c := &keyConn{Conn: conn, server: s, header: http.Header{}}
		c.take()
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.serving.Go(c.serve)
	}
}

// stop waits for the requests under way, no longer than ctx lasts.
func (s *keyServer) stop(ctx context.Context) {
	s.stopping.Store(true)
	s.each(func(c *keyConn) { _ = c.SetReadDeadline(time.Now()) }) // wakes those that wait for a request
	defer context.AfterFunc(ctx, func() { s.each(func(c *keyConn) { c.Close() }) })()
	s.serving.Wait()
	s.hangups.close()
}

func (s *keyServer) each(do func(*keyConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}

// keyConn is one connection of a keyServer, and the reply that is being written
// to it: an http.ResponseWriter.
type keyConn struct {
	net.Conn
	server   *keyServer
	in       *bufio.Reader // on top of Read; nil while a request waits
	ahead    []byte        // read before in was there again, at most a byte
	room     [1]byte       // for ahead
	peer     string        // once asked for
	deadline time.Time     // of reads; moved on once a second, since that has a price
	body     keyBody

	like  *http.Request // the last one that was parsed
	lines []byte        // of its head, without the first

	// Of requests that may wait for long.
	present context.Context // ends when the client hangs up; nil if nobody has looked
	leave   func()          // ends it

	header  http.Header
	status  int    // 0 before WriteHeader
	pending []byte // a body of which nobody has said how long it will be
	begun   bool   // the head is sent
	last    bool   // the connection ends with this reply
	failed  error  // of a write
}

func (c *keyConn) serve() {
	kept := true
	defer func() {
		if r := recover(); r != nil {
			kept = true
			c.server.logger.Error("a request panicked", "from", c.RemoteAddr(), "panic", r, "stack", string(debug.Stack()))
		}
		c.server.mu.Lock()
		delete(c.server.conns, c)
		c.server.mu.Unlock()
		if c.leave != nil {
			c.leave()
		}
		if kept {
			c.Close()
		}
		if c.in != nil {
			c.release()
		}
	}()
	for c.await() {
		r := c.next()
		if r == nil {
			kept = false
			_ = c.SetReadDeadline(time.Time{})
			c.server.others.give(c.Conn, c.in)
			return
		}
		if !c.answer(r) {
			return
		}
	}
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, headRoom) }}

// take gets a buffer to read into.
func (c *keyConn) take() {
	c.in = readers.Get().(*bufio.Reader)
	c.in.Reset(c)
}

// release gives the empty buffer up.
func (c *keyConn) release() {
	c.in.Reset(nil)
	readers.Put(c.in)
	c.in = nil
}

// Read reads what is ahead, and from the connection. More than a byte comes of a
// request in any case, so it does not wait for long with that one in hand.
func (c *keyConn) Read(p []byte) (int, error) {
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	more, err := c.Conn.Read(p[n:])
	return n + more, err
}

// await waits until a request begins.
func (c *keyConn) await() bool {
	if now := time.Now(); c.deadline.Sub(now) < idleTime {
		c.deadline = now.Add(idleTime + time.Second)
		_ = c.SetReadDeadline(c.deadline)
	}
	if c.server.stopping.Load() { // asked after the deadline is set: stop sets an earlier one
		return false
	}
	_, err := c.in.Peek(1)
	return err == nil
}

// next takes the head of a request, or returns nil and takes nothing.
func (c *keyConn) next() *http.Request {
	seen, _ := c.in.Peek(c.in.Buffered())
	if !asksForKey(seen) {
		return nil
	}
	r, end := c.again(seen)
	if r == nil {
		if end = bytes.Index(seen, []byte("\r\n\r\n")) + 4; end < 4 {
			return nil
		}
		if r = parse(seen[:end]); r == nil || r.ContentLength < 0 || r.ContentLength > bodyRoom {
			return nil
		}
		r = r.WithContext(c.server.ctx)
		first := bytes.IndexByte(seen, '\n') + 1
		c.like, c.lines = r, append(c.lines[:0], seen[first:end]...)
	}
	_, _ = c.in.Discard(end)
	c.body = keyBody{in: c.in, left: int(r.ContentLength)}
	r.Body = &c.body
	if c.peer == "" {
		c.peer = c.RemoteAddr().String()
	}
	r.RemoteAddr = c.peer
	return r
}

var proto = []byte(" HTTP/1.1\r\n")

// again takes a head that has another target than the last one and is the same
// otherwise, as those of one client mostly are. To parse all of it costs as much as
// to read the key. It returns nil for any other head.
func (c *keyConn) again(seen []byte) (r *http.Request, end int) {
	if c.like == nil {
		return nil, 0
	}
	first := bytes.IndexByte(seen, '\n') + 1
	if !bytes.HasPrefix(seen[first:], c.lines) {
		return nil, 0
	}
	line, ok := bytes.CutSuffix(seen[:first], proto)
	method, target, _ := strings.Cut(string(line), " ")
	if !ok || method != c.like.Method || strings.Contains(target, " ") {
		return nil, 0
	}
	address, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, 0
	}
	r = c.like.WithContext(c.server.ctx)
	r.RequestURI, r.URL = target, address
	return r, first + len(c.lines)
}

func asksForKey(head []byte) bool {
	for _, method := range []string{"GET ", "PUT ", "DELETE "} {
		if rest, ok := bytes.CutPrefix(head, []byte(method)); ok {
			return bytes.HasPrefix(rest, []byte(kvPath))
		}
	}
	return false
}

// parser reads one head from memory.
type parser struct {
	head bytes.Reader
	in   *bufio.Reader
}

var parsers = sync.Pool{New: func() any {
	p := &parser{}
	p.in = bufio.NewReaderSize(&p.head, headRoom)
	return p
}}

// parse returns nil for a head that is wrong or says more than what is asked
// and how long the body is: net/http knows what to make of it.
func parse(head []byte) *http.Request {
	p := parsers.Get().(*parser)
	defer parsers.Put(p)
	p.head.Reset(head)
	p.in.Reset(&p.head)
	r, err := http.ReadRequest(p.in)
	if p.in.Buffered()+p.head.Len() > 0 {
		return nil // its lines end otherwise than we think, and it is over before
	}
	if err != nil || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.TransferEncoding != nil {
		return nil
	}
	if r.Host == "" || !httpguts.ValidHostHeader(r.Host) {
		return nil
	}
	for name, values := range r.Header {
		switch name {
		case "Expect", "Upgrade", "Trailer", "Http2-Settings":
			return nil
		}
		if !httpguts.ValidHeaderFieldName(name) || slices.ContainsFunc(values, invalidValue) {
			return nil
		}
	}
	return r
}

func invalidValue(value string) bool { return !httpguts.ValidHeaderFieldValue(value) }

// answer answers a request and reports whether another one may follow.
func (c *keyConn) answer(r *http.Request) bool {
	if strings.Contains(r.URL.RawQuery, "index=") { // it may wait for long
		watched, unwatch := c.watch()
		defer unwatch()
		r = r.WithContext(watched)
	}
	c.status, c.begun, c.last = 0, false, r.Close
	c.server.handler.ServeHTTP(c, r)
	c.finish(r.Context())
	clear(c.header)
	c.pending = c.pending[:0]
	return !c.last && c.failed == nil && c.body.rest() == nil
}

// watch returns a context that ends when the client hangs up. The function
// returned must be called before the connection is read from again. Meanwhile
// the connection has no buffer: those who wait are many.
func (c *keyConn) watch() (context.Context, func()) {
	if c.body.left > 0 || c.in.Buffered() > 0 {
		return c.server.ctx, func() {} // something is there to read: net/http does not look behind it either
	}
	c.release()
	if c.present == nil {
		ctx, cancel := context.WithCancel(c.server.ctx)
		if forget, ok := c.server.hangups.watch(c.Conn, cancel); ok {
			c.present, c.leave = ctx, func() { forget(); cancel() }
		} else {
			cancel()
		}
	}
	if c.present != nil {
		return c.present, c.take
	}
	return c.watchByReading()
}

// watchByReading does so for a connection that the kernel does not tell us of.
func (c *keyConn) watchByReading() (context.Context, func()) {
	ctx, cancel := context.WithCancel(c.server.ctx)
	c.deadline = time.Time{}
	_ = c.SetReadDeadline(c.deadline)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		n, _ := c.Conn.Read(c.room[:])
		if c.ahead = c.room[:n]; n == 0 {
			cancel()
		}
	}()
	return ctx, func() {
		cancel()
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-watching
		c.take()
	}
}

// keyBody is the body of a request.
type keyBody struct {
	in   *bufio.Reader
	left int // bytes
	err  error
}

// Read reads what the client has sent of the body.
func (b *keyBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.in.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	return n, err
}

// Close does nothing: the connection goes on.
func (b *keyBody) Close() error { return nil }

// rest reads what nobody has asked for.
func (b *keyBody) rest() error {
	if b.err == nil && b.left > 0 {
		_, b.err = b.in.Discard(b.left)
	}
	return b.err
}

// Header returns the headers of the reply, to be set before anything is written.
func (c *keyConn) Header() http.Header { return c.header }

// WriteHeader chooses the status of the reply.
func (c *keyConn) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

// Write adds to the body of the reply, in bytes. It is sent at once if the
// headers say how long all of it is. The error is that of the connection.
func (c *keyConn) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	switch {
	case c.begun:
		if c.failed == nil {
			_, c.failed = c.Conn.Write(p)
		}
	case c.header["Content-Length"] != nil:
		c.send(p)
	default:
		c.pending = append(c.pending, p...)
	}
	return len(p), c.failed
}

// finish sends what is not sent yet. A request whose client is gone, or has not
// sent all of it, may have no reply.
func (c *keyConn) finish(ctx context.Context) {
	if c.status == 0 && ctx.Err() != nil || c.body.err != nil {
		c.last = true
		return
	}
	c.WriteHeader(http.StatusOK)
	if !c.begun {
		c.header["Content-Length"] = []string{strconv.Itoa(len(c.pending))}
		c.send(c.pending)
	}
}

var outs = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// send writes the head of the reply and the body, or the beginning of it.
func (c *keyConn) send(body []byte) {
	c.begun = true
	if c.last {
		c.header["Connection"] = connClose
	}
	c.last = c.header["Connection"] != nil
	out := outs.Get().(*bytes.Buffer)
	defer outs.Put(out)
	out.Reset()
	out.WriteString("HTTP/1.1 ")
	out.Write(strconv.AppendInt(out.AvailableBuffer(), int64(c.status), 10))
	out.WriteByte(' ')
	out.WriteString(http.StatusText(c.status))
	out.WriteString("\r\n")
	_ = c.header.Write(out) // a Buffer takes everything
	out.WriteString("\r\n")
	if len(body) <= outRoom {
		out.Write(body)
		body = nil
	}
	if _, c.failed = c.Conn.Write(out.Bytes()); c.failed == nil && body != nil {
		_, c.failed = c.Conn.Write(body)
	}
}

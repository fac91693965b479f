package rpcserver

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"praetor/rpcserver/wire"
	"praetor/structs"
)

// method is one row of the table of methods.
type method struct {
	name     string
	newArgs  func() any
	newReply func() any
	serve    func(ctx context.Context, s *Server, args, reply any) error
}

// byName finds a method by our name or by Consul's.
var byName = func() map[string]*method {
	found := make(map[string]*method, 2*len(methods))
	for i := range methods {
		m := &methods[i]
		found[m.name] = m
		if rest, ok := strings.CutPrefix(m.name, "KV."); ok {
			found["KVS."+rest] = m
		}
	}
	return found
}()

// Call runs a method in this process, as if it had come in over the network.
// args and reply are pointers to the method's types. A read that waits ends
// with ctx.
func (s *Server) Call(ctx context.Context, name string, args, reply any) error {
	m := byName[name]
	if m == nil {
		return unknownMethod(name)
	}
	return m.serve(ctx, s, args, reply)
}

// unknownMethod says so in the words of net/rpc, which Consul's agents look for.
func unknownMethod(name string) error {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return structs.Errorf(structs.UnknownMethod, "rpc: service/method request ill-formed: %s", name)
	}
	for known := range byName {
		if strings.HasPrefix(known, name[:dot+1]) {
			return structs.Errorf(structs.UnknownMethod, "rpc: can't find method %s", name)
		}
	}
	return structs.Errorf(structs.UnknownMethod, "rpc: can't find service %s", name)
}

// stallTime is how long a peer may take for 64 KiB of a message.
const stallTime = 30 * time.Second

// maxBody is the largest request body in bytes: what the limits on values let
// through, and room for the names around it.
func (s *Server) maxBody() int {
	limits := s.limits.Load()
	return max(limits.KVMaxValueSize, 2*limits.TxnMaxReqLen) + limits.TxnMaxOps*opOverhead + 256<<10
}

// serveRPC serves calls on one connection or stream until it ends. Calls run
// side by side and are answered as they finish: net/rpc clients tell replies
// apart by Seq.
func (s *Server) serveRPC(conn net.Conn, budget *budget) {
	ctx, cancel := context.WithCancel(s.ctx)
	c := &rpcConn{
		Conn:    wire.NewConn(conn, wire.Limits{MaxBody: s.maxBody(), Stall: stallTime}),
		server:  s,
		waiting: ctx,
		budget:  budget,
		running: map[uint64]context.CancelFunc{},
		next:    make(chan rpcCall),
	}
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	err := c.read()
	cancel() // wakes the reads that wait; they answer with what they have
	close(c.next)
	c.calls.Wait()
	stop()
	if structs.IsCode(err, structs.TooLarge) {
		c.Refuse(5 * time.Second)
		return
	}
	c.Close()
}

type rpcConn struct {
	*wire.Conn
	server  *Server
	waiting context.Context // of reads that wait; ends when the peer sends no more
	budget  *budget
	calls   sync.WaitGroup
	next    chan rpcCall // to goroutines that have nothing to do
	idle    atomic.Int32 // how many there are, at most maxIdle

	mu      sync.Mutex // guards running
	running map[uint64]context.CancelFunc
}

// read starts a call for each request that comes in, until there are no more.
func (c *rpcConn) read() error {
	var header wire.Request
	for {
		if err := c.ReadHeader(&header); err != nil {
			return c.lost(err)
		}
		c.SetMaxBody(c.server.maxBody())
		body, err := c.ReadBody()
		if structs.IsCode(err, structs.TooLarge) {
			c.answer(&header, structs.Errorf(structs.TooLarge,
				"request is larger than %d bytes: raise limits.kv_max_value_size, limits.txn_max_req_len or limits.txn_max_ops", c.server.maxBody()), nil)
			return err
		}
		if err != nil {
			return c.lost(err)
		}
		if header.ServiceMethod == wire.MethodCancel {
			c.cancel(body)
			continue
		}
		m := byName[header.ServiceMethod]
		if m == nil {
			c.answer(&header, unknownMethod(header.ServiceMethod), nil)
			continue
		}
		args := m.newArgs()
		if err := structs.DecodeValue(body, args); err != nil {
			c.answer(&header, err, nil)
			continue
		}
		c.start(m, header, args, len(body))
	}
}

// rpcCall is a request that is being carried out.
type rpcCall struct {
	method *method
	header wire.Request
	args   any
	size   int // bytes of the request
	ctx    context.Context
	done   func()
}

// start runs one call beside the others, once there is room for it. A call
// that does not wait is carried through even if its caller hangs up; one that
// waits can be found by a cancel.
func (c *rpcConn) start(m *method, header wire.Request, args any, size int) {
	c.budget.take(size)
	call := rpcCall{method: m, header: header, args: args, size: size, ctx: c.server.ctx, done: func() {}}
	if mayWait(args) {
		call.ctx, call.done = c.cancellable(header.Seq)
	}
	if header.Forwarded {
		call.ctx = context.WithValue(call.ctx, forwardedKey{}, true)
	}
	select {
	case c.next <- call:
	default:
		c.calls.Go(func() { c.carryOut(call) })
	}
}

// maxIdle is how many goroutines of a connection wait for its next calls.
const maxIdle = 64

// carryOut runs a call and those that come next. A goroutine that has run one has
// the stack for another; to let it grow anew was a tenth of the cost of a call.
func (c *rpcConn) carryOut(call rpcCall) {
	for more := true; more; {
		reply := call.method.newReply()
		err := c.server.guarded(call.ctx, call.method, call.args, reply)
		c.answer(&call.header, err, reply)
		call.done()
		c.budget.give(call.size)
		call = rpcCall{} // nothing of it is kept
		if c.idle.Add(1) > maxIdle {
			more = false
		} else {
			call, more = <-c.next
		}
		c.idle.Add(-1)
	}
}

func (c *rpcConn) cancellable(seq uint64) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(c.waiting)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[seq] = cancel
	return ctx, func() {
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.running, seq)
	}
}

// guarded turns a panic in a method into an error for its caller alone.
func (s *Server) guarded(ctx context.Context, m *method, args, reply any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.logger.Error("panic in RPC method: please report it", "method", m.name, "panic", p, "stack", string(debug.Stack()))
			err = structs.Errorf(structs.Internal, "%s failed inside the server: %v", m.name, p)
		}
	}()
	return m.serve(ctx, s, args, reply)
}

func mayWait(args any) bool {
	q, ok := args.(interface{ Options() *structs.QueryOptions })
	return ok && q.Options().MinQueryIndex > 0
}

func (c *rpcConn) cancel(body []byte) {
	var seq uint64
	if structs.DecodeValue(body, &seq) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.running[seq]; cancel != nil {
		cancel()
	}
}

// answer writes the reply, or the error and an empty body.
func (c *rpcConn) answer(request *wire.Request, err error, reply any) {
	header := wire.Response{Seq: request.Seq, ServiceMethod: request.ServiceMethod}
	if err == nil {
		if err = c.Write(&header, reply); !errors.Is(err, wire.ErrEncode) {
			return // written, or nobody is there any more
		}
		c.server.logger.Error("reply to RPC: please report it", "method", request.ServiceMethod, "error", err)
	}
	header.Error, header.Code = err.Error(), structs.CodeOf(err)
	if header.Error == "" {
		header.Error = "unknown error"
	}
	c.Write(&header, &wire.Empty{})
}

// lost logs why a connection ended, if it is worth a line.
func (c *rpcConn) lost(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && c.server.ctx.Err() == nil {
		c.server.logger.Warn("RPC connection dropped", "from", c.RemoteAddr(), "error", err)
	}
	return err
}

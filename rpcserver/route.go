package rpcserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver/client"
	"praetor/structs"
)

// call is one request on its way to whoever must answer it.
type call struct {
	method  string
	request request
	reply   any
	read    *structs.QueryOptions       // nil if it may change something
	here    func(context.Context) error // answers it on this server
}

var errStopping = structs.Errorf(structs.Leaving, "server is shutting down")

// forwardedKey marks the context of a request that another server sent on.
type forwardedKey struct{}

// route answers the call on this server if it may, else on the leader. While
// there is no leader, or it is not ready, the call waits up to the hold time.
func (s *Server) route(ctx context.Context, c call) (err error) {
	defer func() {
		if errors.Is(err, context.Canceled) && s.ctx.Err() != nil {
			err = errStopping // not the caller has given up, we have; nothing was sent on
		}
	}()
	if dc := c.request.RequestDatacenter(); dc != "" && dc != s.config.Datacenter {
		return structs.ErrNoPath
	}
	if c.read != nil && c.read.AllowStale && s.heardFromLeader() {
		return s.answerHere(ctx, c)
	}
	var deadline time.Time
	forwarded := ctx.Value(forwardedKey{}) != nil
	defer c.keepWait()()
	until := time.Now().Add(s.waitTime(c.read))
	for pause := s.config.RPCHoldTimeout / 64; ; pause *= 2 {
		began := time.Now()
		err = s.atLeader(ctx, c, forwarded)
		if errors.Is(err, errLeaderMoved) {
			err, deadline = structs.ErrNoLeader, time.Time{} // it was in good hands until now
		}
		if err == nil || !c.mayTryAgain(err) || s.quarantined.Load() != nil || forwarded && !s.isRaftLeader() {
			return err
		}
		if s.leaving.Load() && s.leaderAddr() == "" {
			return structs.ErrLeaving // it is out of raft, and would wait in vain
		}
		now := time.Now()
		if waited := now.Sub(began) > s.config.RPCHoldTimeout && now.Before(until); waited || deadline.IsZero() {
			deadline = now.Add(s.config.RPCHoldTimeout)
		}
		c.waitUntil(until)
		pause = min(pause, s.config.RPCHoldTimeout/8)
		wait := pause + rand.N(pause)
		if now.Add(wait).After(deadline) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-s.leaderChanged():
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return errStopping
		}
	}
}

// answerHere refuses what was read from a state that turned out to be wrong
// meanwhile.
func (s *Server) answerHere(ctx context.Context, c call) error {
	err := c.here(ctx)
	if err == nil && c.read != nil {
		err = s.quarantineError()
	}
	return err
}

// atLeader makes one attempt.
func (s *Server) atLeader(ctx context.Context, c call, forwarded bool) error {
	if s.ctx.Err() != nil {
		return errStopping
	}
	if err := s.quarantineError(); err != nil {
		return err
	}
	if s.isRaftLeader() {
		if !s.ready() {
			return structs.ErrNotReady
		}
		return s.answerHere(ctx, c)
	}
	tenure := s.leader.next()
	addr := s.leaderAddr()
	if addr == "" || forwarded {
		return structs.ErrNoLeader
	}
	conn, err := s.reach(ctx, tenure, addr)
	if err != nil {
		return err
	}
	// An attempt on this server may have left rows of the state in the reply. The
	// next one is decoded over it: what it lacks would stay, and what it has would
	// be written into those rows.
	reflect.ValueOf(c.reply).Elem().SetZero()
	if c.read == nil {
		return s.writeAtLeader(ctx, conn, tenure, c)
	}
	wait := s.waitTime(c.read)
	timed, cancel := context.WithTimeout(ctx, wait+wait/16+s.config.RPCHoldTimeout+forwardGrace)
	defer cancel()
	stop := context.AfterFunc(tenure, cancel)
	defer stop()
	err = conn.CallLeader(timed, c.method, c.request, c.reply)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, context.DeadlineExceeded):
		return structs.Errorf(structs.Unreachable, "the leader did not answer in time")
	case errors.Is(err, context.Canceled):
		return errLeaderMoved
	case err == nil && c.read.AllowStale:
		s.hasShown(c.reply)
	}
	return err
}

// hasShown remembers how far the leader's state was that a stale read has seen
// here: our own must have come there before it is shown, or time would go back.
func (s *Server) hasShown(reply any) {
	m, ok := reply.(interface{ Meta() *structs.QueryMeta })
	if !ok {
		return
	}
	for index := m.Meta().Index; ; {
		shown := s.shown.Load()
		if index <= shown || s.shown.CompareAndSwap(shown, index) {
			return
		}
	}
}

// reach connects to the leader, as long as it is the leader.
func (s *Server) reach(ctx, tenure context.Context, addr string) (*client.Conn, error) {
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(tenure, cancel)
	defer stop()
	conn, err := s.pool.Get(dialing, addr)
	if err != nil && ctx.Err() == nil && tenure.Err() != nil {
		return nil, structs.ErrNoLeader
	}
	return conn, err
}

// writeAtLeader sends a write on. Once under way it is not given up because its
// caller hangs up: the next one may ask what became of it. It is when we hear
// of another leader, or of none, and the answer does not come soon after.
func (s *Server) writeAtLeader(ctx context.Context, conn *client.Conn, tenure context.Context, c call) error {
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.RPCHoldTimeout+forwardGrace)
	defer cancel()
	stop := context.AfterFunc(tenure, func() {
		select {
		case <-time.After(answerGrace):
			cancel()
		case <-timed.Done():
		}
	})
	defer stop()
	err := conn.CallLeader(timed, c.method, c.request, c.reply)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return structs.Errorf(structs.Unclear, "the leader did not answer in time: %s may or may not have been carried out", c.method)
	}
	return err
}

// errLeaderMoved says that a read was given up at a leader that no longer is
// one for us: it may be behind a broken wire, and its successor knows better.
var errLeaderMoved = errors.New("the leader has changed")

// keepWait returns a function that undoes waitUntil.
func (c *call) keepWait() func() {
	if c.read == nil {
		return func() {}
	}
	asked := c.read.MaxQueryTime
	return func() { c.read.MaxQueryTime = asked }
}

// waitUntil lets the next attempt of a blocking read wait only for what is
// left of its time.
func (c *call) waitUntil(until time.Time) {
	if c.read != nil && c.read.MinQueryIndex > 0 {
		c.read.MaxQueryTime = max(time.Until(until), time.Millisecond)
	}
}

// forwardGrace is how much longer than the leader's own patience we wait for it.
const forwardGrace = 5 * time.Second

// answerGrace is how long a write may go on waiting for a leader that we no
// longer take for one: it may have had the time to carry it out.
const answerGrace = time.Second

// mayTryAgain reports whether nothing was done, or nothing was to be done.
func (c *call) mayTryAgain(err error) bool {
	switch code := structs.CodeOf(err); code {
	case structs.NoLeader, structs.NotReady, structs.Resubmit, structs.Unreachable, structs.Leaving, structs.Quarantined:
		return true
	case structs.Unclear:
		return c.read != nil
	}
	return false
}

// isRaftLeader reports whether raft leads here, with a disk that moves and a
// state that is right.
func (s *Server) isRaftLeader() bool {
	return s.raft.State() == raft.Leader && !s.frozen.Load() && s.quarantined.Load() == nil
}

// ready reports whether this server leads, may serve, and has applied everything
// that was committed before its term.
func (s *Server) ready() bool { return s.established() && !s.awaiting.Load() }

// established is ready, but also true of a server that still waits for its
// first state.
func (s *Server) established() bool {
	return s.readyTerm.Load() == s.raft.CurrentTerm() && s.isRaftLeader()
}

// leaderAddr is where the leader's RPC port is, "" if no leader is known.
// Gossip knows better than raft when the leader has moved.
func (s *Server) leaderAddr() string {
	addr, id := s.raft.LeaderWithID()
	if addr == "" || string(id) == s.config.NodeID && (s.frozen.Load() || s.quarantined.Load() != nil) {
		return ""
	}
	if member, ok := s.members.byID(string(id)); ok {
		return member.addr
	}
	return string(addr)
}

// heardFromLeader reports whether this server's state is worth anything: it
// leads, or has been in touch with a leader since it started, is not behind what
// it has shown, and has no restored snapshot that the cluster may not have.
func (s *Server) heardFromLeader() bool {
	if s.awaiting.Load() {
		return false
	}
	inTouch := s.raft.State() == raft.Leader || s.frozen.Load() || !s.raft.LastContact().IsZero()
	store, shown := s.fsm.Store(), s.shown.Load()
	return inTouch && (shown == 0 || store.Applied() >= shown) && s.proven(store)
}

// apply puts a command in the log and returns its result once it is committed
// and applied. Values too large for one entry are split.
func (s *Server) apply(c structs.Command) (any, error) {
	if err := s.quarantineError(); err != nil {
		return nil, err
	}
	entry, err := structs.EncodeCommand(c)
	if err != nil {
		return nil, err
	}
	var future raft.ApplyFuture
	if err := s.questions.ask(func() error {
		future = s.log(entry)
		return future.Error()
	}); err != nil {
		return nil, applyError(err)
	}
	if q := s.quarantined.Load(); q != nil {
		return nil, structs.Errorf(structs.Unclear, "%s: the request is in the log, and this server cannot tell what came of it", q.Reason)
	}
	switch result := future.Response().(type) {
	case error:
		return nil, result
	case nil:
		if len(entry) > raft.SuggestedMaxDataSize {
			return nil, structs.ErrResubmit
		}
		return nil, nil
	default:
		return result, nil
	}
}

// applyError gives raft's errors codes: which of them mean that nothing was done.
func applyError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return structs.ErrNoLeader
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return structs.Errorf(structs.Busy, "raft apply failed: the leader has too much to do, nothing was done")
	case errors.Is(err, errStopping):
		return err
	}
	// Raft's own word that it shuts down is among the rest: it may come for an
	// entry that was committed but not applied here any more.
	return structs.Errorf(structs.Unclear, "raft apply failed: %v: the request may or may not have been carried out", err)
}

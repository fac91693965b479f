package rpcserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"praetor/state"
	"praetor/structs"
)

const (
	progressEvery = 30 * time.Second // on a feed that has nothing else to say, at most
	progressFloor = 2 * time.Second  // even if the history is short for what comes
	stateBatch    = 64               // entries of a state sent in one go
	stateBytes    = 64 << 10         // or bytes of them
	behindGrace   = time.Second      // for a server to catch up with a client
)

// Feed tells the changes of keys under one prefix, from this server's state.
type Feed struct {
	server *Server
	prefix string
	at     structs.FeedPosition // everything up to here was told
	reason string               // why the feed must start with the state; "" for it need not
	meta   structs.QueryMeta
}

// OpenFeed returns a feed. It waits until this server may serve one; from then
// on a feed goes on whether there is a leader or not.
func (s *Server) OpenFeed(ctx context.Context, q *structs.FeedRequest) (*Feed, error) {
	if q.Datacenter != "" && q.Datacenter != s.config.Datacenter {
		return nil, structs.ErrNoPath
	}
	if err := s.quarantineError(); err != nil {
		return nil, err
	}
	ctx, cancel := s.whileUp(ctx)
	defer cancel()
	if err := s.awaitContact(ctx); err != nil {
		return nil, err
	}
	f := &Feed{server: s, prefix: q.Prefix, at: q.After}
	if q.Consistent || !s.caughtUp.Load() {
		if err := s.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	if q.After.Index == 0 {
		f.reason = "the feed starts here"
	} else if err := f.checkAhead(ctx, behindGrace); err != nil {
		return nil, err
	}
	store := s.fsm.Store()
	s.setMeta(&f.meta, store.Epoch(), max(f.at.Index, store.Applied()))
	return f, nil
}

// Meta says how fresh the state is that the feed started from.
func (f *Feed) Meta() *structs.QueryMeta { return &f.meta }

// Run tells everything by calling send, in batches that send must not keep. It
// returns nil when the server stops, else what send or ctx says.
func (f *Feed) Run(ctx context.Context, send func([]structs.FeedEvent) error) error {
	s := f.server
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	ctx, cancel := s.whileUp(ctx)
	defer cancel()
	for {
		store, err := s.provenStore(ctx, false)
		if err == nil {
			err = f.runStore(ctx, store, send)
		}
		switch {
		case s.ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// whileUp returns a context that also ends when the server stops.
func (s *Server) whileUp(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// runStore tells what happens in one store. It returns nil when the feed must
// start over, with f.reason or in another store.
func (f *Feed) runStore(ctx context.Context, store *state.Store, send func([]structs.FeedEvent) error) error {
	cursor, err := f.begin(store, send)
	if cursor == nil {
		return err
	}
	defer cursor.Close()
	return f.follow(ctx, cursor, send)
}

// begin returns a cursor behind what was told, after telling the state if the
// history does not lead there.
func (f *Feed) begin(store *state.Store, send func([]structs.FeedEvent) error) (*state.Cursor, error) {
	if f.reason == "" {
		cursor, err := store.Follow(f.prefix, f.at)
		if err == nil {
			return cursor, nil
		}
		f.reason = f.why(err)
	}
	view, cursor := store.Begin(f.prefix)
	if err := f.tellState(view, cursor.At().Index, send); err != nil {
		cursor.Close()
		return nil, err
	}
	f.reason = ""
	return cursor, nil
}

func (f *Feed) why(err error) string {
	if errors.Is(err, state.ErrReplaced) {
		return fmt.Sprintf("this server took over a snapshot since: its history does not lead on from %v", f.at)
	}
	return fmt.Sprintf("this server's history no longer goes back to %v (see limits.watch_history_size)", f.at)
}

// tellState sends a reset and all entries under the prefix.
func (f *Feed) tellState(view *state.Reader, index uint64, send func([]structs.FeedEvent) error) error {
	batch := append(make([]structs.FeedEvent, 0, 8), structs.FeedEvent{
		Type: structs.FeedReset, Index: index, Reason: f.reason, Epoch: view.Epoch().ID,
	})
	bytes := 0
	for entry := range view.KVsUnder(f.prefix) {
		batch = append(batch, structs.FeedEvent{Type: structs.FeedPut, Entry: entry})
		bytes += len(entry.Key) + len(entry.Value)
		if len(batch) < stateBatch && bytes < stateBytes {
			continue
		}
		if err := send(batch); err != nil {
			return err
		}
		batch, bytes = batch[:0], 0
	}
	return send(batch)
}

// follow tells changes as they come, until there is another store, or the
// cursor was too slow for the history.
func (f *Feed) follow(ctx context.Context, cursor *state.Cursor, send func([]structs.FeedEvent) error) error {
	every := progressEvery
	timer := time.NewTimer(jitter(every))
	defer timer.Stop()
	synced := false
	for {
		if err := f.tellChanges(ctx, cursor, &synced, send); err != nil {
			if errors.Is(err, state.ErrForgotten) {
				f.reason = "the client has read more slowly than changes came, for longer than the history lasts (see limits.watch_history_size)"
				return nil
			}
			return err
		}
		timer.Reset(jitter(every))
		if !synced {
			timer.Reset(catchingUp)
		}
		switch cursor.Wait(ctx, timer.C) {
		case state.ByCaller:
			return ctx.Err()
		case state.ByAbandon:
			return nil
		case state.ByTime:
			f.at = cursor.At()
			if !synced {
				if err := f.checkAhead(ctx, 0); err != nil || f.reason != "" {
					return err
				}
				continue
			}
			every = nextPause(every, cursor.Passed())
			if err := f.tellProgress(ctx, send); err != nil || f.reason != "" {
				return err
			}
		}
	}
}

// catchingUp is how long a server that is behind the client's place waits before
// it sees whether it still is.
const catchingUp = 100 * time.Millisecond

// tellChanges sends what there is to read, and the first time that nothing is
// left, that this is all. It is not while the store is behind the client's
// place: that may lie in the middle of a transaction, of which the rest is to
// come. It never comes if a snapshot takes the store's place meanwhile.
func (f *Feed) tellChanges(ctx context.Context, cursor *state.Cursor, synced *bool, send func([]structs.FeedEvent) error) error {
	var space [4]state.Change
	changes := space[:0]
	for done := false; !done; {
		var err error
		if changes, done, err = cursor.Read(changes[:0]); err != nil {
			return err
		}
		f.at = cursor.At()
		batch := make([]structs.FeedEvent, 0, len(changes)+1)
		for i := range changes {
			c := &changes[i]
			batch = append(batch, structs.FeedEvent{Type: c.Type, At: c.At, Index: c.At.Index, Entry: c.Entry})
		}
		if done && !*synced && !cursor.Ahead() {
			*synced = true
			batch = append(batch, structs.FeedEvent{Type: structs.FeedSynced, At: f.at, Index: f.at.Index})
		}
		if len(batch) > 0 {
			if err := send(batch); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (f *Feed) tellProgress(ctx context.Context, send func([]structs.FeedEvent) error) error {
	if f.checkAhead(ctx, 0) != nil || f.reason != "" {
		return ctx.Err()
	}
	var meta structs.QueryMeta
	f.server.setMeta(&meta, f.server.fsm.Store().Epoch(), f.at.Index)
	return send([]structs.FeedEvent{{
		Type: structs.FeedProgress, At: f.at, Index: f.at.Index, KnownLeader: meta.KnownLeader, LastContact: meta.LastContact,
	}})
}

// jitter takes up to a quarter off a pause, so that feeds that began together
// do not all speak at once.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/4+1) }

// nextPause is how long to be silent when, in the last such pause, so much of
// the history has passed: the client's place must stay well within it.
func nextPause(pause time.Duration, passed float64) time.Duration {
	if passed > 0 {
		pause = time.Duration(float64(pause) / (4 * passed))
	} else {
		pause = progressEvery
	}
	return min(max(pause, progressFloor), progressEvery)
}

// awaitContact waits until this server's state is worth anything: it leads and
// has caught up, or has been in touch with a leader.
func (s *Server) awaitContact(ctx context.Context) error {
	hold := time.NewTimer(s.config.RPCHoldTimeout)
	defer hold.Stop()
	for !s.mayServe() {
		select {
		case <-s.leaderChanged():
		case <-time.After(s.config.RPCHoldTimeout / 16): // the contact itself is not announced
		case <-hold.C:
			return structs.ErrNoLeader
		case <-ctx.Done():
			return s.endOf(ctx)
		}
	}
	return nil
}

func (s *Server) mayServe() bool {
	if s.isRaftLeader() {
		return s.ready()
	}
	return s.heardFromLeader()
}

// endOf says why a context made by whileUp has ended.
func (s *Server) endOf(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return errStopping
	}
	return ctx.Err()
}

// catchUp waits until this server has everything that any server had
// acknowledged when it was called. A server that has just started must, even for
// a feed that may be stale: until it has applied what is in its log it is where it
// was long ago, and at first nowhere, with an empty state and no place to go on
// from.
func (s *Server) catchUp(ctx context.Context) error {
	var frontier structs.Frontier
	if err := s.Call(ctx, "Praetor.Frontier", &structs.DCSpecificRequest{}, &frontier); err != nil {
		return err
	}
	if !s.awaitApplied(ctx, max(1, frontier.Applied), s.config.RPCHoldTimeout) {
		if ctx.Err() != nil {
			return s.endOf(ctx)
		}
		return structs.Errorf(structs.NotReady, "this server did not catch up with the leader in time: ask another")
	}
	s.caughtUp.Store(true)
	return nil
}

// awaitApplied waits until this server has applied an index, and says whether it has.
func (s *Server) awaitApplied(ctx context.Context, index uint64, atMost time.Duration) bool {
	for pause, end := time.Millisecond, time.Now().Add(atMost); ; pause = min(2*pause, 100*time.Millisecond) {
		if s.fsm.Store().Applied() >= index {
			return true
		}
		if time.Now().Add(pause).After(end) {
			return false
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

// checkAhead makes sure that an index which this server does not have is one of
// this cluster's. If it never was, the feed must start with the state. Without a
// leader nobody can tell, and the feed waits.
func (f *Feed) checkAhead(ctx context.Context, grace time.Duration) error {
	s := f.server
	if s.awaitApplied(ctx, f.at.Index, grace) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.RPCHoldTimeout)
	defer cancel()
	var frontier structs.Frontier
	switch err := s.Call(ctx, "Praetor.Frontier", &structs.DCSpecificRequest{}, &frontier); {
	case s.ctx.Err() != nil:
		return errStopping
	case err == nil && frontier.Last < f.at.Index:
		f.reason = fmt.Sprintf("index %d was never reached: the cluster is at %d", f.at.Index, frontier.Last)
	}
	return nil
}

// frontier answers how far the leader is, once it has proven that it leads.
func frontier(ctx context.Context, s *Server, q *structs.DCSpecificRequest, reply *structs.Frontier) error {
	return s.route(ctx, call{method: "Praetor.Frontier", request: q, reply: reply, read: &q.QueryOptions, here: func(ctx context.Context) error {
		if err := s.proveLeadership(ctx); err != nil {
			return err
		}
		reply.Last = s.raft.LastIndex()
		reply.Applied = s.fsm.Store().Applied()
		return nil
	}})
}

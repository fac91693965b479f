package rpcserver

import (
	"context"
	"time"

	"praetor/state"
	"praetor/structs"
)

// A leader has the state of a restored snapshot before anybody else. If it loses
// leadership then, the others may go on without that state. So nobody is told of
// it before a quorum has it. Raft commits an entry behind every restore, and
// every new leader commits one: once such an entry is applied here, this
// server's past is the cluster's.

var errUnproven = structs.Errorf(structs.NotReady, "this server has restored a snapshot, and does not know yet whether the cluster has")

// proven reports whether the cluster is known to have the state that the store
// began with.
func (s *Server) proven(store *state.Store) bool {
	floor := store.Epoch().Floor
	return floor == 0 || s.raft.AppliedIndex() > floor
}

// provenStore returns the store as soon as the cluster is known to have it. It
// has little patience where somebody else can answer.
func (s *Server) provenStore(ctx context.Context, elsewhere bool) (*state.Store, error) {
	if err := s.quarantineError(); err != nil {
		return nil, err
	}
	store := s.fsm.Store()
	if s.proven(store) {
		return store, nil
	}
	return s.awaitProven(ctx, func() bool { return elsewhere && !s.isRaftLeader() })
}

// awaitProven waits for that until the time is up, or nobody needs it any more.
func (s *Server) awaitProven(ctx context.Context, giveUp func() bool) (*state.Store, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, errStopping
		}
		if store := s.fsm.Store(); s.proven(store) {
			return store, nil
		}
		if giveUp() {
			return nil, errUnproven
		}
	}
}

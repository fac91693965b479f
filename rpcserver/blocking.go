package rpcserver

import (
	"context"
	"math/rand/v2"
	"time"

	"praetor/state"
	"praetor/structs"
)

// blocking runs a read on a view of the state. With MinQueryIndex it runs it
// again whenever something that it read has changed, until the index of what
// was read is above MinQueryIndex, the time is up, ctx ends or the server stops;
// then the last result stands. A restored snapshot ends the wait, whatever the
// index, as soon as the cluster is known to have it. What must be known before
// there is any result takes its time, however short the wait is.
func (s *Server) blocking(ctx context.Context, q *structs.QueryOptions, meta *structs.QueryMeta, run func(*state.Reader) error) error {
	after, until := q.MinQueryIndex, ctx
	if after > 0 {
		wait := s.waitTime(q)
		wait += rand.N(wait/16 + 1)
		timed, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		until = timed
	}
	misses := 0
	var last *state.Store
	for ran := false; ; ran, ctx = true, until {
		if q.RequireConsistent || !q.AllowStale && !s.leaseHolds() {
			proof := ctx
			if !ran { // the caller may have closed its half of the connection, and still gets its answer
				proof = context.WithoutCancel(ctx)
			}
			if err := s.proveLeadership(proof); err != nil {
				if ran && s.over(ctx) {
					return nil // the time is up, not the leadership
				}
				return err
			}
		}
		store, err := s.provenStore(ctx, !q.AllowStale)
		if err != nil {
			if ran && s.over(ctx) {
				return nil
			}
			return err
		}
		if ran && store != last {
			after = 0
		}
		last = store
		view := store.Read
		if after > 0 {
			view = store.Watch
		}
		r := view()
		if err := run(r); err != nil {
			return err
		}
		s.setMeta(meta, r.Epoch(), r.Index())
		if after == 0 {
			return nil
		}
		if r.Missing() {
			// The second time, wait for this key to come, not for its neighbours.
			if misses++; misses > 1 {
				after = max(after, meta.Index)
			}
		}
		if meta.Index > after {
			return nil
		}
		r.WakeBy(s.ctx.Done())
		if r.Wait(until) != nil || s.ctx.Err() != nil {
			return nil
		}
	}
}

// over reports whether the time of a read is up, its caller gone, or the server
// stopping.
func (s *Server) over(ctx context.Context) bool { return ctx.Err() != nil || s.ctx.Err() != nil }

// waitTime is how long a read may wait, without the random part: none, or what
// it asks for within the server's limits.
func (s *Server) waitTime(q *structs.QueryOptions) time.Duration {
	switch {
	case q == nil || q.MinQueryIndex == 0:
		return 0
	case q.MaxQueryTime <= 0:
		return s.config.DefaultQueryTime
	}
	return min(q.MaxQueryTime, s.config.MaxQueryTime)
}

// setMeta describes a reply from a state of this epoch. Its index is never below
// the epoch's floor: the rows of a restored snapshot are older than what clients
// have seen before, and nobody may wait for such an index to be passed.
func (s *Server) setMeta(meta *structs.QueryMeta, epoch *state.Epoch, index uint64) {
	meta.Index = max(index, epoch.Floor, 1) // 0 would make a client ask again at once, for ever
	meta.Epoch = epoch.ID
	if s.isRaftLeader() {
		meta.LastContact, meta.KnownLeader = 0, true
		return
	}
	if s.frozen.Load() { // raft's own word is of the time before
		meta.LastContact, meta.KnownLeader = s.disk.longest(), false
		return
	}
	meta.LastContact = time.Since(s.raft.LastContact())
	leader, _ := s.raft.LeaderWithID()
	meta.KnownLeader = leader != ""
}

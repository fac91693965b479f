package rpcserver

import (
	"context"
	"time"

	"praetor/state"
	"praetor/structs"
)

// expireKeys deletes, while we lead, the keys whose TTL is over. A new leader,
// and one whose state was replaced by a snapshot, gives every key its whole TTL
// again: no key goes early, and late by what had gone by before. It wakes up
// when a TTL begins anew or is over, and reads only what began since it last
// looked.
func (s *Server) expireKeys(ctx context.Context) {
	var store *state.Store
	var queue *deadlines
	var next uint64 // index from which on TTLs were not read yet
	for ctx.Err() == nil {
		if current := s.fsm.Store(); current != store {
			store, queue, next = current, newDeadlines(), 0
		}
		r := store.Watch()
		now := time.Now()
		for ttl := range r.KeyTTLsSince(next) {
			queue.set(ttl.Key, now.Add(ttl.TTL), ttl.Index)
			next = ttl.Index + 1
		}
		view := store.Read()
		running := func(d *deadline) bool {
			ttl := view.KeyTTL(d.name)
			return ttl != nil && ttl.Index == d.mark
		}
		queue.prune(running)
		due := queue.due(now, expiryBatch)
		if len(due) > 0 {
			for i, failed := range s.expire(ctx, store, due) {
				if failed {
					queue.set(due[i].name, now.Add(expiryRetry), due[i].mark)
				}
			}
			continue
		}
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if wait, ok := queue.next(now); ok {
			waiting, cancel = context.WithTimeout(ctx, wait)
		}
		r.Wait(waiting) // why it ends is for the next round to see
		cancel()
	}
}

// expire logs that the TTLs of keys are over, and says of each whether that
// failed and is to be tried again.
func (s *Server) expire(ctx context.Context, store *state.Store, due []*deadline) []bool {
	failed := make([]bool, len(due))
	indexes := make([]int, len(due))
	for i := range indexes {
		indexes[i] = i
	}
	sideBySide(indexes, func(i int) {
		s.replacing.share()
		defer s.replacing.unshare()
		item := due[i]
		if ttl := store.Read().KeyTTL(item.name); ctx.Err() != nil || s.fsm.Store() != store || ttl == nil || ttl.Index != item.mark {
			return // it has been set or deleted since, or is not for us to say any more
		}
		_, err := s.apply(&structs.KVSRequest{
			Datacenter: s.config.Datacenter, Op: structs.KVExpire,
			DirEnt: structs.DirEntry{Key: item.name, TTLIndex: item.mark},
		})
		if failed[i] = err != nil && ctx.Err() == nil; failed[i] {
			s.logger.Warn("cannot expire a key, will try again", "key", item.name, "error", err)
		}
	})
	return failed
}

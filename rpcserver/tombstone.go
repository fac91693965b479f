package rpcserver

import (
	"context"
	"time"

	"praetor/structs"
)

// reapTombstones forgets deletes that are older than the TTL, while we lead. At
// each step it notes how far the tombstones reach; what a note that is old
// enough covers can go. A new leader knows no times, so to it all that is there
// is as old as its term. However short the TTL, a tombstone outlives the lock
// delay that it may have to remember.
func (s *Server) reapTombstones(ctx context.Context) {
	type note struct {
		at    time.Time
		index uint64
	}
	var notes []note
	var noted uint64
	ttl := max(s.config.TombstoneTTL, structs.MaxLockDelay+time.Second)
	every := time.NewTicker(s.config.TombstoneStep)
	defer every.Stop()
	for {
		r := s.fsm.Store().Read()
		if index := r.TombstoneIndex(); index > noted && r.HasTombstones() {
			notes = append(notes, note{time.Now(), index})
			noted = index
		}
		var reap uint64
		for len(notes) > 0 && time.Since(notes[0].at) >= ttl {
			reap, notes = notes[0].index, notes[1:]
		}
		if reap > 0 {
			_, err := s.apply(&structs.TombstoneRequest{Datacenter: s.config.Datacenter, Op: structs.TombstoneReap, ReapIndex: reap})
			if err != nil && ctx.Err() == nil {
				s.logger.Warn("cannot reap tombstones, will try again", "index", reap, "error", err)
				notes = append([]note{{time.Now().Add(-ttl), reap}}, notes...)
			}
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

package rpcserver

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// A leader whose disk hangs goes on leading: raft's main loop waits for the
// disk, but heartbeats come from other goroutines, so that the followers notice
// nothing, and no entry is committed. So once a write has taken too long, such a
// leader falls silent: it sends no heartbeats and no entries, the others elect
// another leader among themselves, and it answers nobody as the leader. What it
// had in hand raft settles by its rules when the disk moves: the others are in a
// later term by then and refuse it. It cannot stand for election before that,
// since its main loop still waits.

// diskClock knows which writes to the raft log are under way.
type diskClock struct {
	mu     sync.Mutex  // guards the fields below
	writes []time.Time // when they began
	failed time.Time   // when the last one failed
}

// write runs a write under the clock.
func (c *diskClock) write(do func() error) (err error) {
	began := time.Now()
	c.mu.Lock()
	c.writes = append(c.writes, began)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.writes, began)
		c.writes = slices.Delete(c.writes, i, i+1)
		if err != nil {
			c.failed = time.Now()
		}
	}()
	return do()
}

// sinceFailure is how long ago a write failed last.
func (c *diskClock) sinceFailure() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.failed)
}

// longest is how long the oldest write has been under way.
func (c *diskClock) longest() (d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, began := range c.writes {
		d = max(d, time.Since(began))
	}
	return d
}

// timedStore is the log store as raft sees it: its writes are under a clock, and
// what it reads that is damaged is looked after.
type timedStore struct {
	logStore
	server *Server
}

func (t timedStore) write(what string, do func() error) error {
	return t.server.disk.write(func() error { return t.server.config.Raft.write(what, do) })
}

// write makes one write of raft to its disk.
func (r Raft) write(what string, do func() error) error {
	if r.AroundWrite == nil {
		return do()
	}
	return r.AroundWrite(what, do)
}

// GetLog reads an entry.
func (t timedStore) GetLog(index uint64, log *raft.Log) error {
	err := t.logStore.GetLog(index, log)
	if structs.IsCode(err, structs.Corrupt) {
		return t.server.damagedEntry(index, err)
	}
	return err
}

// StoreLog stores an entry.
func (t timedStore) StoreLog(log *raft.Log) error { return t.StoreLogs([]*raft.Log{log}) }

// Set stores a stable value.
func (t timedStore) Set(key, value []byte) error {
	return t.write(string(key), func() error { return t.logStore.Set(key, value) })
}

// SetUint64 stores a stable value that is a number.
func (t timedStore) SetUint64(key []byte, n uint64) error {
	return t.write(string(key), func() error { return t.logStore.SetUint64(key, n) })
}

// IsMonotonic reports whether the store takes no gaps between indexes.
func (t timedStore) IsMonotonic() bool {
	store, ok := t.logStore.(raft.MonotonicLogStore)
	return ok && store.IsMonotonic()
}

// watchStall makes this server give up leadership while its disk hangs.
func (s *Server) watchStall() {
	limit := s.config.Raft.StallLimit
	look := max(limit/10, 10*time.Millisecond)
	every := time.NewTicker(look)
	defer every.Stop()
	var settled chan struct{} // closes when raft knows whether we still lead
	last := time.Now()
	for {
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
		pause := time.Since(last)
		last = time.Now()
		switch stuck := s.disk.longest() > limit; {
		case stuck && pause > 3*look:
			// Not the disk stood still, this whole process did: look again.
		case stuck && !s.silent.Load() && s.raft.State() == raft.Leader && s.voters() > 1:
			s.frozen.Store(true)
			s.silent.Store(true)
			s.logger.Error("the disk hangs: giving up leadership, this server takes part again when its disk moves", "limit", limit)
			s.leader.fire()
		case !stuck && s.silent.Load():
			s.silent.Store(false)
			s.logger.Info("the disk moves again")
			done := make(chan struct{})
			settled = done
			s.tasks.Go(func() { // waits for raft's main loop, and so for the disk
				defer close(done)
				for s.askIfLeading() == errNoAnswer {
				}
			})
		case s.frozen.Load() && !s.silent.Load() && isClosed(settled):
			s.frozen.Store(false)
			s.leader.fire()
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

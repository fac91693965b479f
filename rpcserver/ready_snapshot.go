package rpcserver

import (
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/hashicorp/raft"

	"praetor/fsm"
)

// readySnapshot is the state that a restore has loaded to see that it is sound,
// before raft hears of it. Raft then writes the stream out as a snapshot and has
// the FSM restore that: if it is the same bytes, the FSM takes this state, which
// spares it a second load. Followers, and whoever restores the snapshot later,
// load it for themselves.
type readySnapshot struct {
	mu     sync.Mutex        // guards the fields below
	loaded *fsm.Loaded       // nil if there is none, or it was taken
	sum    [sha256.Size]byte // of the stream that it was loaded from
	id     string            // of raft's snapshot of the same sum; "" while there is none
}

// offer says what the next snapshot of this sum will hold. There is one offer at
// a time: withdraw it.
func (r *readySnapshot) offer(loaded *fsm.Loaded, sum [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded, r.sum, r.id = loaded, sum, ""
}

// withdraw ends the offer, so that its state can be freed.
func (r *readySnapshot) withdraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded, r.id = nil, ""
}

func (r *readySnapshot) offered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loaded != nil
}

// written says that the snapshot is whole, and the sum of its stream.
func (r *readySnapshot) written(id string, sum [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded != nil && r.sum == sum {
		r.id = id
	}
}

// take returns the state of the snapshot if that is at hand. A state has one
// owner, so the next who asks gets nil.
func (r *readySnapshot) take(id string) *fsm.Loaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id == "" || r.id != id {
		return nil
	}
	loaded := r.loaded
	r.loaded, r.id = nil, ""
	return loaded
}

// summedSink sums a snapshot for the offer that there is.
type summedSink struct {
	raft.SnapshotSink
	sum   hash.Hash
	ready *readySnapshot
}

// Write writes to the snapshot.
func (s *summedSink) Write(p []byte) (int, error) {
	summed := make(chan struct{})
	go func() { // as long as the other: raft takes a sum too
		s.sum.Write(p)
		close(summed)
	}()
	n, err := s.SnapshotSink.Write(p)
	<-summed
	return n, err
}

// Close finishes the snapshot.
func (s *summedSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	s.ready.written(s.ID(), [sha256.Size]byte(s.sum.Sum(nil)))
	return nil
}

package rpcserver

import (
	"context"
	"crypto/sha256"
	"io"
	"sync"
	"time"

	"praetor/fsm"
	"praetor/structs"
)

// Servers that applied the same entries must have the same state. With
// Config.VerifyState they look whether they do. The leader puts an entry into the
// log that changes nothing; each server takes a view of its state at that entry,
// which costs nothing, and hashes it beside its work. Then each asks all others
// for theirs (verdict.go), and one that is in the minority takes itself out of
// service (quarantine.go). Nobody has to be believed more than the others: the
// leader may be the one that is wrong.

const (
	verifyLook    = time.Second      // how often the leader looks whether a comparison is due
	hashesKept    = 8                // of the newest comparisons, for servers that lag
	hashPatience  = 5 * time.Second  // for the hash of a state, in one call
	verifyRest    = 3                // how much longer than it works a server rests while it hashes
	verifyRestMax = time.Second      // after one piece of the state
	gaugeEvery    = 5 * time.Second  // half of the interval that metrics are shown for
	answersWithin = 30 * time.Second // from those that are slow or gone, and then as long as slowerBy says
	slowerBy      = 4                // how much longer than we another server may take to hash its state
)

// verifier knows the hashes of this server's state.
type verifier struct {
	mu     sync.Mutex // guards the fields below
	next   *sighting  // waits to be hashed
	busy   bool
	hashes []structs.StateHash // the newest last
	alone  bool                // it was said that there is nothing to compare with

	compared uint64             // index of the newest comparison that came to something
	results  map[verdict]uint64 // how many comparisons came to what

	settled signal // fires with each hash
}

// sighting is the state at an entry that asks for a comparison.
type sighting struct {
	index uint64
	view  fsm.View
}

// sight is called on raft's goroutine. A server that reads its log again passes
// many such entries: only the newest one is worth hashing.
func (s *Server) sight(index uint64, view fsm.View) {
	v := &s.verifier
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next = &sighting{index, view}
	if !v.busy {
		v.busy = true
		s.tasks.Go(s.hashStates)
	}
}

// hashStates hashes states as long as there are any, and compares each.
func (s *Server) hashStates() {
	v := &s.verifier
	for {
		v.mu.Lock()
		next := v.next
		v.next = nil
		v.busy = next != nil
		v.mu.Unlock()
		if next == nil {
			return
		}
		if last := next.view.LastIndex(); last > next.index {
			s.logger.Error("the state at an entry has rows of a later one: please report it", "entry", next.index, "row", last)
		}
		h, began := sha256.New(), time.Now()
		if next.view.Stream(&paced{to: h, ctx: s.ctx, since: began}) != nil || s.quarantined.Load() != nil {
			continue // this server stops, or the view is of a state that was dropped
		}
		ours := structs.StateHash{Index: next.index, Hash: h.Sum(nil), Build: s.config.Build}
		v.mu.Lock()
		if v.hashes = append(v.hashes, ours); len(v.hashes) > hashesKept {
			v.hashes = v.hashes[1:]
		}
		v.mu.Unlock()
		v.settled.fire()
		patience := answersWithin + slowerBy*time.Since(began)
		s.tasks.Go(func() { s.compare(ours, patience) })
	}
}

// paced passes on what is written and rests after each piece, so that hashing
// takes a quarter of one core at most, however large the state.
type paced struct {
	to    io.Writer
	ctx   context.Context
	since time.Time
}

// Write writes, and rests.
func (p *paced) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	if err != nil {
		return n, err
	}
	select {
	case <-time.After(min(verifyRest*time.Since(p.since), verifyRestMax)):
	case <-p.ctx.Done():
	}
	p.since = time.Now()
	return n, p.ctx.Err()
}

// count notes what a comparison came to.
func (v *verifier) count(index uint64, result verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.results == nil {
		v.results = map[verdict]uint64{}
	}
	v.results[result]++
	if result != undecided {
		v.compared = max(v.compared, index)
	}
}

// at returns the hash at an index. passed says that there will be none.
func (v *verifier) at(index uint64) (found *structs.StateHash, passed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.hashes {
		if v.hashes[i].Index == index {
			return &v.hashes[i], false
		}
	}
	n := len(v.hashes)
	return nil, n > 0 && v.hashes[n-1].Index > index
}

// stateHash answers with the hash of this server's state at an index, as soon as
// it has one.
func stateHash(ctx context.Context, s *Server, q *structs.StateHashRequest, reply *structs.StateHash) error {
	if !s.config.VerifyState {
		return structs.Errorf(structs.Unsupported, "server %s does not hash its state: set verify_state", s.config.NodeName)
	}
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()
	for {
		next := s.verifier.settled.next()
		found, passed := s.verifier.at(q.Index)
		switch {
		case found != nil:
			*reply = *found
			return nil
		case passed:
			return structs.Errorf(structs.NotFound, "server %s has no hash of its state at entry %d", s.config.NodeName, q.Index)
		}
		select {
		case <-next.Done():
		case <-patience.C:
			return structs.Errorf(structs.NotReady, "server %s has not hashed its state at entry %d yet", s.config.NodeName, q.Index)
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return errStopping
		}
	}
}

// askForVerification is the leader's duty to put the entries into the log at
// which states are compared.
func (s *Server) askForVerification(ctx context.Context) {
	if !s.config.VerifyState {
		return
	}
	every := time.NewTicker(verifyLook)
	defer every.Stop()
	last, index := time.Now(), s.raft.AppliedIndex()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		entries := s.config.VerifyEntries
		if time.Since(last) < s.config.VerifyInterval && (entries == 0 || s.raft.AppliedIndex() < index+entries) {
			continue
		}
		last, index = time.Now(), s.raft.AppliedIndex()
		if s.isAlone() {
			continue
		}
		if _, err := s.apply(&structs.VerifyRequest{Datacenter: s.config.Datacenter}); err != nil && ctx.Err() == nil {
			s.logger.Warn("cannot ask for a comparison of states", "error", err)
		}
	}
}

// isAlone reports whether there is no other server, and says so the first time:
// a state can only be compared with another.
func (s *Server) isAlone() bool {
	others, err := s.otherServers()
	if err != nil || len(others) > 0 {
		return false
	}
	s.verifier.mu.Lock()
	defer s.verifier.mu.Unlock()
	if !s.verifier.alone {
		s.verifier.alone = true
		s.logger.Warn("verify_state does nothing while this is the only server: there is no other state to compare with")
	}
	return true
}

package rpcserver

import (
	"sync"

	"praetor/fsm"
)

// readySnapshot is the state that a restore has loaded to see that it is sound,
// before raft hears of it. Raft then has the snapshot that the restore became
// restored by the FSM, which takes this state: that spares it a second load.
// Followers, and whoever restores the snapshot later, load it for themselves.
type readySnapshot struct {
	mu     sync.Mutex  // guards the fields below
	loaded *fsm.Loaded // nil if there is none, or it was taken
	id     string      // of the snapshot that holds it
}

// put says what a snapshot holds. There is one at a time: withdraw it.
func (r *readySnapshot) put(id string, loaded *fsm.Loaded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded, r.id = loaded, id
}

// withdraw forgets the state, so that it can be freed.
func (r *readySnapshot) withdraw() { r.put("", nil) }

// take returns the state of the snapshot if that is at hand. A state has one
// owner, so the next who asks gets nil.
func (r *readySnapshot) take(id string) *fsm.Loaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id != id {
		return nil
	}
	loaded := r.loaded
	r.loaded, r.id = nil, ""
	return loaded
}

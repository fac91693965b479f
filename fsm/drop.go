package fsm

import (
	"fmt"

	"github.com/hashicorp/raft"

	"praetor/state"
	"praetor/structs"
)

// A state that is known to be wrong is dropped, so that nothing of it can be
// served, stored or sent. Until another takes its place, entries are only
// counted: they are read from the log again when there is a state to change.

var errDropped = structs.Errorf(structs.Unclear, "the state of this server was found to be wrong, so that it cannot tell what came of the request")

// takeOverRest is how many entries are applied while raft waits, at most.
const takeOverRest = 256

// Drop throws the state away. Whoever waits on it is woken.
func (f *FSM) Drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replace(state.New(), chunks{})
	f.dropped = true
}

// Dropped reports whether the state was thrown away and none has taken its place.
func (f *FSM) Dropped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropped
}

// TakeOver puts a snapshot, taken at a raft index, in the place of the state that
// was dropped, and brings it up to date with the entries behind it that were
// applied here, as entry reads them from the log. The error has code NotReady
// while this server has not come to that index itself. The snapshot is used up.
//
// It does nothing if there is a state: raft has restored another snapshot since.
func (f *FSM) TakeOver(l *Loaded, index uint64, entry func(uint64) (*raft.Log, error)) error {
	if applied := f.position(); applied < index {
		return structs.Errorf(structs.NotReady, "the snapshot is of entry %d, and this server has applied %d", index, applied)
	}
	l.begin(index)
	next := &FSM{chunks: l.chunks, applied: index}
	next.store.Store(l.Store)
	for at := f.position(); at > next.applied+takeOverRest; at = f.position() {
		if err := next.replay(at, entry); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dropped {
		return nil
	}
	if err := next.replay(f.applied, entry); err != nil {
		return err
	}
	f.replace(next.Store(), next.chunks)
	return nil
}

func (f *FSM) position() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied
}

// replay applies the entries up to one from the log.
func (f *FSM) replay(last uint64, entry func(uint64) (*raft.Log, error)) error {
	var batch []*raft.Log
	for index := f.applied + 1; index <= last; index++ {
		log, err := entry(index)
		if err != nil {
			return fmt.Errorf("read entry %d: %w", index, err)
		}
		if batch = append(batch, log); len(batch) == takeOverRest || index == last {
			f.ApplyBatch(batch)
			batch = batch[:0]
		}
	}
	return nil
}

package fsm

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"praetor/state"
	"praetor/structs"
)

// FSM applies committed log entries to a state store. Raft calls it from one
// goroutine; Store and View may be called from any.
type FSM struct {
	store   atomic.Pointer[state.Store]
	history atomic.Int64 // bytes of changes to remember
	verify  func(index uint64, v View)

	mu      sync.Mutex // held to apply entries, and to put another state in place; guards the fields below
	chunks  chunks
	applied uint64 // index of the last entry or snapshot
	term    uint64 // of the same
	dropped bool   // there is no state: see drop.go
}

var _ raft.BatchingFSM = (*FSM)(nil)

// New returns an FSM with an empty store.
func New() *FSM {
	f := &FSM{}
	f.store.Store(state.New())
	f.history.Store(state.DefaultHistory)
	return f
}

// LimitHistory says how many bytes of changes to remember, from now on.
func (f *FSM) LimitHistory(bytes int) {
	f.history.Store(int64(bytes))
	f.Store().LimitHistory(bytes)
}

// OnVerify sets what is called, on raft's goroutine, with the state at each
// entry that asks for a comparison. Call it before the first entry is applied.
func (f *FSM) OnVerify(call func(index uint64, v View)) { f.verify = call }

// Store returns the store as of now. A restored snapshot puts another in its
// place and abandons this one, which wakes all who wait on it.
func (f *FSM) Store() *state.Store { return f.store.Load() }

// Apply applies one committed entry; see ApplyBatch.
func (f *FSM) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies committed entries in order, in one state transaction, and
// returns for each its result or its error. Deterministic. It panics at an entry
// that was applied before: applied twice, it would change the state again.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	results := make([]any, len(logs))
	w := f.Store().Write()
	defer func() { w.Abort() }()
	for i, log := range logs {
		if log.Index <= f.applied {
			panic(fmt.Sprintf("fsm: entry %d of type %v comes after %d", log.Index, log.Type, f.applied))
		}
		f.applied, f.term = log.Index, log.Term
		if log.Type != raft.LogCommand {
			continue
		}
		if f.dropped {
			results[i] = errDropped
			continue
		}
		data, whole := f.chunks.add(log)
		if !whole {
			continue
		}
		results[i] = applyEntry(w, log.Index, data)
		if f.verify != nil && structs.MessageType(data[0]) == structs.VerifyStateType {
			w.Commit()
			f.verify(log.Index, f.whole())
			w = f.Store().Write()
		}
	}
	w.Commit()
	return results
}

// whole is the whole state, for raft's goroutine.
func (f *FSM) whole() View {
	v := View{reader: f.Store().Read(), chunks: f.chunks.clone()}
	if !f.dropped {
		v.Index, v.Term = f.applied, f.term
	}
	return v
}

// applyEntry runs one command. If it fails, nothing of it stays.
func applyEntry(w *state.Writer, index uint64, data []byte) any {
	if len(data) == 0 {
		panic(fmt.Sprintf("fsm: entry %d is empty", index))
	}
	kind := structs.MessageType(data[0])
	c, ok := commands[kind&^structs.IgnoreUnknownTypeFlag]
	if !ok {
		if kind&structs.IgnoreUnknownTypeFlag != 0 {
			return nil
		}
		panic(fmt.Sprintf("fsm: entry %d has type %v, which this version does not know: start a newer one", index, kind))
	}
	w.Begin(index)
	result := c.apply(w, data[1:])
	if _, failed := result.(error); failed {
		w.Undo()
	}
	return result
}

// Snapshot returns a view of the state as it is now, to be written out while
// entries go on being applied.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.Dropped() {
		return nil, errDropped
	}
	return &snapshot{f.View()}, nil
}

// Source is a snapshot stream from a store that knows more of it than it says.
type Source interface {
	io.ReadCloser
	// Position is the raft index and term at which the snapshot was taken. The
	// stream only knows the last index at which something changed, and after the
	// restore of an archive that is from another life of the cluster.
	Position() (index, term uint64)
	// Ready is what these very bytes have already been loaded into, for the first
	// who asks; else nil.
	Ready() *Loaded
}

// Restore replaces the state with that of a snapshot stream. If the stream is
// bad the state stays as it was. The source is closed.
func (f *FSM) Restore(source io.ReadCloser) error {
	defer source.Close()
	var loaded *Loaded
	var index, term uint64
	known, isKnown := unwrap(source)
	if isKnown {
		index, term = known.Position()
		loaded = known.Ready()
	}
	if loaded == nil {
		var err error
		if loaded, err = Load(source); err != nil {
			_, _ = io.Copy(io.Discard, source) // a source may know at its end that it is damaged
			return err
		}
	}
	if !isKnown {
		index = loaded.Header.LastIndex
	}
	loaded.begin(index)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied, f.term = index, term
	f.replace(loaded.Store, loaded.chunks)
	return nil
}

// replace puts another state in the place of the one that is there. The caller
// holds mu.
func (f *FSM) replace(store *state.Store, c chunks) {
	f.chunks, f.dropped = c, false
	old := f.store.Swap(store)
	store.LimitHistory(int(f.history.Load()))
	old.Abandon()
}

// begin says at which raft index the snapshot was taken.
func (l *Loaded) begin(index uint64) {
	l.Store.BeginEpoch(index)
	l.Store.BeginHistory(index)
}

// unwrap finds the Source in what raft has put around it.
func unwrap(source io.ReadCloser) (Source, bool) {
	for {
		if s, ok := source.(Source); ok {
			return s, true
		}
		wrapper, ok := source.(raft.ReadCloserWrapper)
		if !ok {
			return nil, false
		}
		source = wrapper.WrappedReadCloser()
	}
}

// View returns the state as it is now, with what it was made of last. It may be
// called from any goroutine, and waits for a batch that is being applied.
func (f *FSM) View() View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole()
}

type snapshot struct{ view View }

// Persist writes the stream to raft's sink.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.view.Stream(sink); err != nil {
		sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release is raft's word that the view is no longer needed.
func (*snapshot) Release() {}

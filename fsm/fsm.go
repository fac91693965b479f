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

	mu     sync.Mutex // held while the state changes; guards the fields below
	chunks chunks
	index  uint64 // of the last entry, or of the snapshot, that made the state
	term   uint64 // of the same
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

// Store returns the store as of now. A restored snapshot puts another in its
// place and abandons this one, which wakes all who wait on it.
func (f *FSM) Store() *state.Store { return f.store.Load() }

// Apply applies one committed entry; see ApplyBatch.
func (f *FSM) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies committed entries in order, in one state transaction, and
// returns for each its result or its error. Deterministic.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.Store().Write()
	defer w.Abort()
	for i, log := range logs {
		f.index, f.term = log.Index, log.Term
		if log.Type != raft.LogCommand {
			continue
		}
		if data, whole := f.chunks.add(log); whole {
			results[i] = applyEntry(w, log.Index, data)
		}
	}
	w.Commit()
	return results
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
	loaded.Store.BeginEpoch(index)
	loaded.Store.BeginHistory(index)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chunks, f.index, f.term = loaded.chunks, index, term
	old := f.store.Swap(loaded.Store)
	loaded.Store.LimitHistory(int(f.history.Load()))
	old.Abandon()
	return nil
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
	return View{Index: f.index, Term: f.term, reader: f.Store().Read(), chunks: f.chunks.clone()}
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

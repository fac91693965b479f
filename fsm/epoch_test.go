package fsm_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/structs"
)

// at is a snapshot source that knows its raft index, as a server's do.
type at struct {
	io.Reader
	index uint64
}

func (at) Close() error                     { return nil }
func (a at) Position() (index, term uint64) { return a.index, 1 }
func (a at) Ready() *fsm.Loaded             { return nil }

func streamOf(t *testing.T, f *fsm.FSM) []byte {
	t.Helper()
	var b bytes.Buffer
	view := f.View()
	if err := view.Stream(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func begun(t *testing.T, id string) []byte {
	t.Helper()
	record, err := fsm.EpochRecord(id)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func wantEpoch(t *testing.T, f *fsm.FSM, id string, floor uint64) {
	t.Helper()
	if e := f.Store().Epoch(); e.ID != id || e.Floor != floor {
		t.Errorf("got epoch %+v, want %s from %d", *e, id, floor)
	}
	if e := f.Store().Read().Epoch(); *e != *f.Store().Epoch() {
		t.Errorf("a reader is in epoch %+v", *e)
	}
}

// The first epoch has no floor. One that stands undated behind a stream begins
// where the snapshot is, in place of the one that came with it, and goes on from
// there through other snapshots; all who take it over come to the same state.
func TestEpochOfASnapshot(t *testing.T) {
	t.Parallel()
	first := fsm.New()
	if e := first.Store().Epoch(); e.ID != "" || e.Floor != 0 {
		t.Errorf("an empty state is in epoch %+v", *e)
	}
	entry, err := structs.EncodeCommand(&structs.MetadataRequest{Op: structs.MetadataUpsert,
		Entry: &structs.MetadataEntry{Key: structs.EpochKey, Value: "one"}})
	if err != nil {
		t.Fatal(err)
	}
	first.Apply(&raft.Log{Index: 7, Type: raft.LogCommand, Data: entry})
	wantEpoch(t, first, "one", 0)

	restored := append(streamOf(t, first), begun(t, "two")...)
	hashes := map[[32]byte]bool{}
	for range 2 {
		f := fsm.New()
		if err := f.Restore(at{bytes.NewReader(restored), 100}); err != nil {
			t.Fatal(err)
		}
		wantEpoch(t, f, "two", 100)
		if last := f.Store().Read().LastIndex(); last != 100 {
			t.Errorf("the header will say %d, below the epoch's index, 100", last)
		}
		view := f.View()
		hashes[view.Hash()] = true
		// A later snapshot of that state keeps the floor.
		again := fsm.New()
		if err := again.Restore(at{bytes.NewReader(streamOf(t, f)), 500}); err != nil {
			t.Fatal(err)
		}
		wantEpoch(t, again, "two", 100)
		view = again.View()
		hashes[view.Hash()] = true
	}
	if len(hashes) != 1 {
		t.Errorf("%d different states came of one snapshot", len(hashes))
	}
}

// After a recovery the epoch has no id, and what was its floor still is; the next
// one makes servers alike again, whether they recovered or not.
func TestRecoveringEndsTheEpoch(t *testing.T) {
	t.Parallel()
	source := append(streamOf(t, fsm.New()), begun(t, "one")...)
	recovering, other := fsm.Recovering(), fsm.New()
	for _, f := range []raft.FSM{recovering, other} {
		if err := f.Restore(at{bytes.NewReader(source), 50}); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := recovering.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink := &memorySink{}
	if err := snapshot.Persist(sink); err != nil {
		t.Fatal(err)
	}
	recovered := fsm.New()
	if err := recovered.Restore(at{&sink.Buffer, 60}); err != nil {
		t.Fatal(err)
	}
	wantEpoch(t, recovered, "", 50)
	wantEpoch(t, other, "one", 50)
	entry, err := structs.EncodeCommand(&structs.MetadataRequest{Op: structs.MetadataUpsert,
		Entry: &structs.MetadataEntry{Key: structs.EpochKey, Value: "two"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*fsm.FSM{recovered, other} {
		f.Apply(&raft.Log{Index: 70, Type: raft.LogCommand, Data: entry})
		wantEpoch(t, f, "two", 70)
	}
	a, b := recovered.View(), other.View()
	if a.Hash() != b.Hash() {
		t.Error("the states differ")
	}
}

// memorySink is where raft would put a snapshot.
type memorySink struct{ bytes.Buffer }

func (*memorySink) ID() string    { return "memory" }
func (*memorySink) Close() error  { return nil }
func (*memorySink) Cancel() error { return nil }

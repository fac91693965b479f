package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/structs"
)

func set(t testing.TB, index uint64, key string) *raft.Log {
	t.Helper()
	return entry(t, index, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: key, Value: fmt.Append(nil, index)}})
}

// A verification within a batch sees the state at its own entry, half of a large
// entry included, and changes nothing of what the others come to.
func TestVerifySeesTheStateAtItsEntry(t *testing.T) {
	t.Parallel()
	parts := split(t, 3, 1, 9, 2, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "big", Value: make([]byte, 100)}})
	logs := []*raft.Log{set(t, 1, "a"), parts[0], entry(t, 3, &structs.VerifyRequest{}), set(t, 4, "a"), parts[1], entry(t, 6, &structs.VerifyRequest{})}
	parts[1].Index = 5
	seen := func(batches ...[]*raft.Log) (hashes []string, f *fsm.FSM) {
		f = fsm.New()
		f.OnVerify(func(index uint64, v fsm.View) { hashes = append(hashes, fmt.Sprintf("%d %x", index, v.Hash())) })
		for _, batch := range batches {
			f.ApplyBatch(batch)
		}
		return hashes, f
	}
	batched, f := seen(logs)
	single, _ := seen(logs[:1], logs[1:2], logs[2:3], logs[3:4], logs[4:5], logs[5:])
	if len(batched) != 2 || fmt.Sprint(batched) != fmt.Sprint(single) || batched[0][2:] == batched[1][2:] {
		t.Errorf("got %v in a batch, %v one by one", batched, single)
	}
	early, before := seen(logs[:2])
	if early != nil {
		t.Errorf("got %v without a verification", early)
	}
	var restored []string
	late := restore(t, snapshot(t, before))
	late.OnVerify(func(index uint64, v fsm.View) { restored = append(restored, fmt.Sprintf("%d %x", index, v.Hash())) })
	late.ApplyBatch(logs[2:])
	if fmt.Sprint(restored) != fmt.Sprint(batched) {
		t.Errorf("got %v after a restore, %v without", restored, batched)
	}
	_, without := seen([]*raft.Log{logs[0], parts[0], logs[3], parts[1]})
	if a, b := f.View(), without.View(); a.Hash() != b.Hash() {
		t.Error("a verification has changed the state")
	}
}

func TestAnEntryIsAppliedOnce(t *testing.T) {
	t.Parallel()
	f := fsm.New()
	f.Apply(set(t, 5, "a"))
	defer func() {
		if recover() == nil {
			t.Error("entry 5 was applied twice")
		}
	}()
	f.Apply(set(t, 5, "a"))
}

// A state that was dropped answers nothing, and another takes its place that is
// up to date to the byte, parts of a large entry included.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	log := map[uint64]*raft.Log{}
	read := func(index uint64) (*raft.Log, error) {
		if log[index] == nil {
			return nil, errors.New("not there")
		}
		return log[index], nil
	}
	good, bad := fsm.New(), fsm.New()
	var index uint64
	add := func(l *raft.Log) {
		index++
		l.Index = index
		log[index] = l
		good.Apply(l)
	}
	parts := split(t, 9, 1, 9, 3, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "big", Value: make([]byte, 100)}})
	for i := range 10 {
		add(set(t, 0, fmt.Sprint("k", i%3)))
	}
	add(parts[0])
	taken, at := snapshot(t, good), index
	add(parts[1])
	var recent []byte // with few entries behind it
	var recentAt uint64
	for i := range 1000 {
		if i == 900 {
			recent, recentAt = snapshot(t, good), index
		}
		add(set(t, 0, fmt.Sprint("k", i%7)))
	}
	add(parts[2])
	add(&raft.Log{Type: raft.LogNoop})

	bad.ApplyBatch([]*raft.Log{set(t, 1, "wrong"), set(t, 2, "wrong")})
	reader := bad.Store().Watch()
	reader.KV("wrong")
	bad.Drop()
	if err := reader.Wait(context.Background()); err != nil {
		t.Errorf("a reader of the dropped state waits on: %v", err)
	}
	if bad.Store().Read().KV("wrong") != nil || !bad.Dropped() {
		t.Error("the state is still there")
	}
	if _, err := bad.Snapshot(); !structs.IsCode(err, structs.Unclear) {
		t.Errorf("a snapshot of it: got %v", err)
	}
	load := func(taken []byte) *fsm.Loaded {
		loaded, err := fsm.Load(bytes.NewReader(taken))
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	if err := bad.TakeOver(load(taken), at, read); !structs.IsCode(err, structs.NotReady) {
		t.Errorf("a snapshot from ahead: got %v, want code NotReady", err)
	}
	for i := uint64(3); i <= index; i++ {
		if err, failed := bad.Apply(log[i]).(error); failed != (log[i].Type == raft.LogCommand) || failed && !structs.IsCode(err, structs.Unclear) {
			t.Fatalf("entry %d: got %v, want code Unclear", i, err)
		}
	}
	hidden := log[500]
	delete(log, 500)
	if err := bad.TakeOver(load(taken), at, read); err == nil || !bad.Dropped() {
		t.Errorf("with a hole in the log: got %v", err)
	}
	log[500] = hidden
	if err := bad.TakeOver(load(taken), at, read); err != nil || bad.Dropped() {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshot(t, bad), snapshot(t, good)) {
		t.Error("the states differ")
	}
	bad.Drop()
	if err := bad.TakeOver(load(recent), recentAt, read); err != nil || !bytes.Equal(snapshot(t, bad), snapshot(t, good)) {
		t.Errorf("from a recent snapshot: the states differ, or %v", err)
	}
	next := set(t, index+1, "next")
	log[index+1] = next
	if a, b := good.Apply(next), bad.Apply(next); a != b {
		t.Errorf("got %v and %v", a, b)
	}
	// Nothing is taken over where there is a state.
	if err := bad.TakeOver(load(taken), at, read); err != nil || bad.Store().Read().KV("next") == nil {
		t.Errorf("a second one: got %v, or it has taken over", err)
	}
}

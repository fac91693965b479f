package journal_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"praetor/agent/backup"
	"praetor/agent/backup/journal"
	"praetor/fsm"
	"praetor/structs"
)

// commands draws a command about a few keys.
func commands(t *rapid.T) structs.Command {
	key := rapid.SampledFrom([]string{"a", "a/b", "a/c", "app/x", "app/y", ""}).Draw(t, "key")
	value := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value")
	switch rapid.IntRange(0, 9).Draw(t, "command") {
	case 0:
		return &structs.KVSRequest{Op: structs.KVDeleteTree, DirEnt: structs.DirEntry{Key: key}}
	case 1:
		return &structs.KVSRequest{Op: structs.KVDelete, DirEnt: structs.DirEntry{Key: key}}
	case 2:
		return &structs.RegisterRequest{Node: "n" + key, Address: "10.0.0.1", Service: &structs.NodeService{ID: "s", Service: "web"}}
	case 3:
		return &structs.TxnRequest{Ops: []structs.TxnOp{
			{KV: &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: structs.DirEntry{Key: "t" + key, Value: value}}},
			{KV: &structs.TxnKVOp{Verb: structs.KVGet, DirEnt: structs.DirEntry{Key: "a"}}}, // fails when a is not there
		}}
	case 4:
		return &structs.TombstoneRequest{Op: structs.TombstoneReap, ReapIndex: rapid.Uint64Range(1, 40).Draw(t, "reap")}
	case 5:
		return &structs.KVSRequest{Op: structs.KVCAS, DirEnt: structs.DirEntry{Key: key, Value: value, RaftIndex: structs.RaftIndex{ModifyIndex: rapid.Uint64Range(0, 9).Draw(t, "cas")}}}
	}
	return &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "k" + key, Value: value}}
}

// Whatever is written, backed up, cut into segments, and whoever archives it: the
// state that is built for an index is the one that the servers had there.
func TestRebuildIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h, target := newHistory(t), newMemory()
		a := h.archiver(target, rapid.IntRange(1, 2000).Draw(t, "segment"))
		a.Turn(t.Context())
		if err := h.backup(target); err != nil {
			t.Fatal(err)
		}
		first := h.last
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 11).Draw(t, "step") {
			case 0:
				if err := h.backup(target); err != nil {
					t.Fatal(err)
				}
			case 1, 2:
				a.Turn(t.Context())
			case 3: // another leader, that does not know how far the last one came
				h.term++
				h.append(raft.Log{Type: raft.LogNoop})
				a = h.archiver(target, rapid.IntRange(1, 2000).Draw(t, "segment"))
			case 4:
				target.setAway(true)
				a.Turn(t.Context())
				target.setAway(false)
			case 5: // some parts of an entry whose others never come
				h.write(3, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "big", Value: bytes.Repeat([]byte("x"), 90)}})
				h.last--
				delete(h.log, h.last+1)
				h.term++
				h.machine = replayed(t, h)
			default:
				h.write(rapid.SampledFrom([]int{1, 1, 1, 2, 5}).Draw(t, "parts"), commands(t))
			}
		}
		a.Turn(t.Context())
		if s := a.Status(); s.Error != "" || s.Index != h.last || len(s.Gaps) != 0 {
			t.Fatalf("archived to %d of %d, gaps %v, error %q", s.Index, h.last, s.Gaps, s.Error)
		}
		n := rapid.Uint64Range(first, h.last).Draw(t, "n")
		result, loaded, err := rebuild(target, journal.Point{Index: n})
		if err != nil {
			t.Fatalf("rebuild %d of %d: %v", n, h.last, err)
		}
		view := loaded.View()
		stripped := view.Hash()
		if result.Hash != h.hashes[n] {
			t.Errorf("index %d: hash %x, the servers had %x", n, result.Hash, h.hashes[n])
		}
		if stripped != h.hashes[n] && !h.pending(n) {
			t.Errorf("index %d: the archive's hash is %x, the servers had %x", n, stripped, h.hashes[n])
		}
		if result, _, err := rebuild(target, journal.Point{Time: h.at(n)}); err != nil || result.Index != n {
			t.Errorf("to the time of %d: got %+v, %v", n, result, err)
		}
		if result, _, err := rebuild(target, journal.Point{}); err != nil || result.Index != h.last {
			t.Errorf("to the end, %d: got %+v, %v", h.last, result, err)
		}
	})
}

// replayed is the state of a history from its log alone.
func replayed(t failer, h *history) *fsm.FSM {
	t.Helper()
	fresh := newHistory(t)
	for i := uint64(1); i <= h.last; i++ {
		fresh.machine.ApplyBatch([]*raft.Log{h.log[i]})
	}
	return fresh.machine
}

// at is when an entry was written.
func (h *history) at(index uint64) time.Time { return h.log[index].AppendedAt }

// pending reports whether at index parts of an entry wait for others: they are
// in a snapshot, and not in the hash of what a server serves.
func (h *history) pending(index uint64) bool {
	for i := index; i > 0; i-- {
		if h.log[i] != nil && h.log[i].Extensions != nil {
			return true
		}
	}
	return false
}

// Whatever happens to a segment is noticed, named, and not replayed.
func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for i := range 5 {
		h.set(fmt.Sprint("k", i), strings.Repeat("v", i))
	}
	var logs []*raft.Log
	for i := uint64(1); i <= h.last; i++ {
		logs = append(logs, h.log[i])
	}
	name, good := journal.Encode("0123abcd-1", logs)
	back, err := journal.Decode(name, good)
	if err != nil || len(back) != len(logs) {
		t.Fatalf("got %d entries, %v", len(back), err)
	}
	for i, log := range back {
		if want := logs[i]; log.Index != want.Index || log.Term != want.Term || log.Type != want.Type || !log.AppendedAt.Equal(want.AppendedAt) ||
			!bytes.Equal(log.Data, want.Data) || !bytes.Equal(log.Extensions, want.Extensions) {
			t.Errorf("got %+v, want %+v", log, want)
		}
	}
	check := func(what, name string, segment []byte) {
		t.Helper()
		logs, err := journal.Decode(name, segment)
		if !structs.IsCode(err, structs.Corrupt) || len(logs) > 0 {
			t.Errorf("%s: got %d entries, %v, want code Corrupt", what, len(logs), err)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %q does not name the segment", what, err)
		}
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			check(fmt.Sprintf("bit %d of byte %d", bit, i), name, bad)
		}
		check(fmt.Sprintf("cut at %d", i), name, good[:i])
		bad := bytes.Clone(good)
		clear(bad[i:min(i+16, len(bad))])
		if !bytes.Equal(bad, good) {
			check(fmt.Sprintf("zeroes at %d", i), name, bad)
		}
	}
	check("longer", name, append(bytes.Clone(good), 0))
	other, swapped := journal.Encode("0123abcd-1", logs[:4])
	check("swapped", name, swapped)
	check("swapped", other, good)
	otherChain, _ := journal.Encode("99999999-1", logs)
	check("of another chain", otherChain, good)
	changed := *logs[4]
	changed.Term++
	_, twin := journal.Encode("0123abcd-1", append(slices.Clone(logs[:4]), &changed))
	check("another entry at the same index", name, twin)
}

// A segment that is gone or damaged: what is before it can be built, what is
// behind it only from a later backup, and the range is named.
func TestMissingSegment(t *testing.T) {
	t.Parallel()
	for _, lose := range []string{"missing", "damaged"} {
		h, target := newHistory(t), newMemory()
		a := h.archiver(target, 1<<20)
		a.Turn(t.Context())
		must(t, h.backup(target))
		for i := range 3 {
			h.set("k", fmt.Sprint(i))
			h.set("l", fmt.Sprint(i))
			a.Turn(t.Context())
		}
		end := h.last
		must(t, h.backup(target))
		h.set("m", "1")
		a.Turn(t.Context())
		victim := target.names("log/")[2] // entries 4 and 5
		if lose == "missing" {
			delete(target.objects, victim)
		} else {
			target.objects[victim][40] ^= 1
		}
		if result, _, err := rebuild(target, journal.Point{Index: 3}); err != nil || result.Hash != h.hashes[3] {
			t.Errorf("%s: before it: %v", lose, err)
		}
		_, _, err := rebuild(target, journal.Point{Index: end - 1})
		want := "entries 4 to 5"
		if lose == "damaged" {
			want = victim
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: behind it: got %v, want %q named", lose, err, want)
		}
		if result, _, err := rebuild(target, journal.Point{}); err != nil || result.Hash != h.hashes[h.last] {
			t.Errorf("%s: from the later backup: %v", lose, err)
		}
		log, err := journal.Open(t.Context(), target)
		must(t, err)
		var indexes []uint64
		errs := 0
		for c, err := range log.Changes(t.Context(), journal.Filter{}) {
			if err != nil {
				errs++
				continue
			}
			indexes = append(indexes, c.Index)
		}
		if errs != 1 || slices.Contains(indexes, 4) || slices.Contains(indexes, 5) || !slices.Contains(indexes, 3) || !slices.Contains(indexes, 6) {
			t.Errorf("%s: changes of %v, %d errors", lose, indexes, errs)
		}
	}
}

// A damaged backup is made up for by an older one and more of the log.
func TestOlderBackup(t *testing.T) {
	t.Parallel()
	h, target := newHistory(t), newMemory()
	a := h.archiver(target, 1<<20)
	a.Turn(t.Context())
	must(t, h.backup(target))
	h.set("k", "1")
	must(t, h.backup(target))
	h.set("k", "2")
	a.Turn(t.Context())
	target.objects[target.names("snap/")[3]][100] ^= 1
	result, _, err := rebuild(target, journal.Point{})
	if err != nil || result.Hash != h.hashes[h.last] || len(result.Notes) != 1 || result.Replayed != 2 {
		t.Errorf("got %+v, %v, want the state, from the older backup, and a note", result, err)
	}
}

// A target that is away loses nothing as long as the log is there. When the log
// is compacted meanwhile, the gap is recorded and a new chain begins, which a
// backup makes usable.
func TestTargetAway(t *testing.T) {
	t.Parallel()
	h, target := newHistory(t), newMemory()
	a := h.archiver(target, 1<<20)
	a.Turn(t.Context())
	must(t, h.backup(target))
	chain := a.Status().Chain
	h.set("k", "1")
	target.setAway(true)
	a.Turn(t.Context())
	h.set("k", "2")
	if s := a.Status(); s.Error == "" || s.Behind != 2 {
		t.Errorf("away: got %+v, want an error and 2 entries behind", s)
	}
	target.setAway(false)
	a.Turn(t.Context())
	if s := a.Status(); s.Error != "" || s.Behind != 0 || s.Chain != chain || len(s.Gaps) != 0 {
		t.Errorf("back: got %+v", s)
	}
	target.setAway(true)
	lost := h.set("k", "3")
	a.Turn(t.Context())
	h.compact(h.last)
	kept := h.set("k", "4")
	target.setAway(false)
	a.Turn(t.Context())
	s := a.Status()
	if s.Chain == chain || !s.AwaitBackup || len(s.Gaps) != 1 || s.Gaps[0].From != lost || s.Gaps[0].To != kept {
		t.Fatalf("after the gap: got %+v, want a new chain, and entries %d to %d lost", s, lost, kept)
	}
	if again := h.archiver(target, 1<<20); true {
		again.Turn(t.Context())
		if s := again.Status(); !s.AwaitBackup || len(s.Gaps) != 1 || s.Error != "" {
			t.Errorf("another leader: got %+v, want the same", s)
		}
	}
	if _, _, err := rebuild(target, journal.Point{Index: kept}); err == nil {
		t.Error("an index in the gap was built")
	}
	must(t, h.backup(target))
	n := h.set("k", "5")
	a.Turn(t.Context())
	for _, i := range []uint64{lost - 1, n} {
		if result, _, err := rebuild(target, journal.Point{Index: i}); err != nil || result.Hash != h.hashes[i] {
			t.Errorf("index %d: %v", i, err)
		}
	}
}

// A restore into the cluster ends the chain. Both histories can be built, each
// with its own entries.
func TestRestoreStartsAChain(t *testing.T) {
	t.Parallel()
	h, target := newHistory(t), newMemory()
	a := h.archiver(target, 1<<20)
	a.Turn(t.Context())
	must(t, h.backup(target))
	h.set("k", "old")
	old := h.snapshot()
	before := h.set("k", "new")
	a.Turn(t.Context())
	h.restore(old)
	a.Turn(t.Context())
	s := a.Status()
	if len(s.Gaps) != 1 || !s.AwaitBackup {
		t.Fatalf("got %+v, want a new chain and a gap", s)
	}
	must(t, h.backup(target))
	after := h.set("l", "1")
	a.Turn(t.Context())
	for _, i := range []uint64{before, after} {
		result, _, err := rebuild(target, journal.Point{Index: i})
		if err != nil || result.Hash != h.hashes[i] {
			t.Errorf("index %d: %v", i, err)
		}
	}
}

// A new cluster from a backup goes on with the backup's indexes. What the old
// one had archived behind them is not taken for its own.
func TestTwoHistoriesWithTheSameIndexes(t *testing.T) {
	t.Parallel()
	for _, unarchived := range []int{0, 30} { // what the new cluster writes before it archives anything
		h, target := newHistory(t), newMemory()
		a := h.archiver(target, 1<<20)
		a.Turn(t.Context())
		must(t, h.backup(target))
		start := h.snapshot()
		for i := range 20 {
			h.set("k", fmt.Sprint("old", i))
		}
		a.Turn(t.Context())

		fresh := newHistory(t)
		fresh.now = h.now.Add(time.Minute)
		fresh.restore(start)
		for i := range unarchived {
			fresh.set("k", fmt.Sprint("first", i))
		}
		b := fresh.archiver(target, 1<<20)
		b.Turn(t.Context())
		if b.Status().Chain == a.Status().Chain {
			t.Fatalf("%d: the new cluster goes on with the old one's chain", unarchived)
		}
		must(t, fresh.backup(target))
		for i := range 5 {
			fresh.set("k", fmt.Sprint("new", i))
		}
		b.Turn(t.Context())
		for _, want := range []struct {
			what  string
			point journal.Point
			of    *history
		}{
			{"the new history", journal.Point{Index: fresh.last}, fresh},
			{"the old history", journal.Point{Index: h.last, Chain: a.Status().Chain}, h},
			{"the old history, at another index", journal.Point{Index: h.last - 10, Chain: a.Status().Chain}, h},
			{"the newest", journal.Point{}, fresh},
			{"the old history by time", journal.Point{Time: h.now}, h},
		} {
			result, _, err := rebuild(target, want.point)
			if err != nil || result.Hash != want.of.hashes[result.Index] || want.point.Index != 0 && result.Index != want.point.Index {
				t.Errorf("%d: %s: got %+v, %v", unarchived, want.what, result, err)
			}
		}
	}
}

// Changes tells what was written, by prefix and time, and finds the moment
// before a delete.
func TestChanges(t *testing.T) {
	t.Parallel()
	h, target := newHistory(t), newMemory()
	a := h.archiver(target, 300)
	a.Turn(t.Context())
	must(t, h.backup(target))
	h.set("app/a", "12345")
	h.set("other", "1")
	early := h.kv(structs.KVDeleteTree, "app/")
	h.write(4, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "app/b", Value: make([]byte, 1000)}})
	h.write(1, &structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: "s", Node: "n"}})
	h.write(1, &structs.TxnRequest{Ops: []structs.TxnOp{
		{KV: &structs.TxnKVOp{Verb: structs.KVGet, DirEnt: structs.DirEntry{Key: "app/b"}}},
		{KV: &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: structs.DirEntry{Key: "app/c", Value: []byte("1")}}},
	}})
	late := h.kv(structs.KVDeleteTree, "app/")
	h.kv(structs.KVDeleteTree, "")
	a.Turn(t.Context())

	log, err := journal.Open(t.Context(), target)
	must(t, err)
	show := func(f journal.Filter) (list []string) {
		t.Helper()
		for c, err := range log.Changes(context.Background(), f) {
			must(t, err)
			list = append(list, fmt.Sprintf("%s %s %d", c.Op, c.Key, c.Size))
		}
		return list
	}
	want := []string{"set app/a 5", "delete-tree app/ 0", "set app/b 1000", "set app/c 1", "delete-tree app/ 0", "delete-tree  0"}
	if got := show(journal.Filter{Prefix: "app/"}); !slices.Equal(got, want) {
		t.Errorf("app/: got %q, want %q", got, want)
	}
	if got := show(journal.Filter{}); len(got) != 9 || !slices.Contains(got, "session create s 0") {
		t.Errorf("everything: got %q", got)
	}
	if got := show(journal.Filter{Prefix: "app/", Since: h.at(early), Until: h.at(early)}); len(got) != 1 {
		t.Errorf("at one time: got %q", got)
	}
	var found []uint64
	for c, err := range log.Changes(t.Context(), journal.Filter{Command: "delete-tree app/"}) {
		must(t, err)
		found = append(found, c.Index)
	}
	if !slices.Equal(found, []uint64{early, late}) {
		t.Fatalf("found %v, want %v", found, []uint64{early, late})
	}
	for _, i := range found {
		_, loaded, err := rebuild(target, journal.Point{Index: i - 1})
		must(t, err)
		if got := len(loaded.Store.Read().KVTree("app/")); got == 0 {
			t.Errorf("before %d: the tree is gone", i)
		}
	}
}

// Segments go when no backup needs them, and no sooner.
func TestPrune(t *testing.T) {
	t.Parallel()
	h, target := newHistory(t), newMemory()
	a := h.archiver(target, 1<<20)
	a.Turn(t.Context())
	chain, start := h.LogChain()
	prune := func(want ...string) {
		t.Helper()
		must(t, journal.Prune(t.Context(), target, "", chain, start))
		if got := target.names("log/"); !slices.Equal(got, want) {
			t.Errorf("%q are left, want %q", got, want)
		}
	}
	h.set("k", "1")
	h.set("k", "2")
	a.Turn(t.Context())
	names := target.names("log/")
	_, foreign := journal.Encode("00000000-1", []*raft.Log{h.log[1]})
	other, _ := journal.Encode("00000000-1", []*raft.Log{h.log[1]})
	must(t, target.Put(t.Context(), other, bytes.NewReader(foreign)))
	prune(other, names[0], names[1])

	// The first backup is in the middle of the second segment.
	h.last--
	must(t, h.backupOf(target, time.Now()))
	h.last++
	prune(other, names[1])
	h.now = time.Now()
	must(t, h.backup(target))
	prune(other, names[1])
	target.times[other] = h.now.Add(-2 * time.Minute)
	prune(other, names[1])
	target.times[other] = h.now.Add(-2 * time.Hour)
	prune(names[1])
	for _, name := range target.names("snap/")[:2] { // the first backup is forgotten
		delete(target.objects, name)
	}
	prune()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzSegment checks that no bytes make the decoder panic, and that what it takes
// is the entry that the name speaks of.
func FuzzSegment(f *testing.F) {
	h := newHistory(f)
	h.set("k", "v")
	name, good := journal.Encode("0123abcd-1", []*raft.Log{h.log[1]})
	f.Add(good)
	f.Fuzz(func(t *testing.T, segment []byte) {
		logs, err := journal.Decode(name, segment)
		if err == nil && (len(logs) != 1 || logs[0].Index != 1 || !bytes.Equal(logs[0].Data, h.log[1].Data)) {
			t.Errorf("other bytes passed for the segment: %+v", logs)
		}
	})
}

// A backup is called after the moment at which it was begun. What was written
// until it was taken is not in the state of that moment.
func TestBackupBegunBeforeTheMoment(t *testing.T) {
	t.Parallel()
	h, target := newHistory(t), newMemory()
	a := h.archiver(target, 1<<20)
	a.Turn(t.Context())
	must(t, h.backup(target))
	wanted := h.set("k", "1")
	begun := h.now
	h.set("k", "2")
	must(t, h.backupOf(target, begun))
	a.Turn(t.Context())
	result, _, err := rebuild(target, journal.Point{Time: h.at(wanted)})
	if err != nil || result.Index != wanted || result.Hash != h.hashes[wanted] {
		t.Errorf("got %+v, %v, want index %d", result, err, wanted)
	}
}

// A snapshot that knows of no chain, as one of Consul does, ends the chain as well.
func TestRestoreFromElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere := newHistory(t)
	elsewhere.set("consul", "1")
	for _, sameLeader := range []bool{true, false} {
		h, target := newHistory(t), newMemory()
		a := h.archiver(target, 1<<20)
		a.Turn(t.Context())
		must(t, h.backup(target))
		h.set("k", "1")
		a.Turn(t.Context())
		lost := h.set("k", "2")
		h.restore(elsewhere.snapshot())
		if !sameLeader {
			a = h.archiver(target, 1<<20)
		}
		a.Turn(t.Context())
		if s := a.Status(); s.Error != "" || len(s.Gaps) != 1 || s.Gaps[0].From != lost || !s.AwaitBackup {
			t.Errorf("same leader %v: got %+v, want a gap from index %d and a new chain", sameLeader, s, lost)
		}
		if _, _, err := rebuild(target, journal.Point{Index: h.last}); err == nil {
			t.Errorf("same leader %v: the new history was built from the old backup", sameLeader)
		}
		must(t, h.backup(target))
		h.set("k", "3")
		a.Turn(t.Context())
		if result, _, err := rebuild(target, journal.Point{}); err != nil || result.Hash != h.hashes[h.last] {
			t.Errorf("same leader %v: %v", sameLeader, err)
		}
	}
}

// A target that hangs does not keep the server from stopping.
func TestHangingTarget(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	release := make(chan struct{})
	defer close(release)
	a := journal.New(journal.Config{Source: h, Target: hanging{release}, Lag: 10 * time.Millisecond, Backup: func(context.Context) error { return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	time.Sleep(50 * time.Millisecond)
	cancel()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("it still runs")
	}
}

type hanging struct{ release chan struct{} }

func (h hanging) Put(context.Context, string, io.Reader) error { <-h.release; return nil }
func (h hanging) Get(context.Context, string) (io.ReadCloser, error) {
	<-h.release
	return nil, errAway
}
func (h hanging) List(context.Context, string) ([]backup.Object, error) {
	<-h.release
	return nil, errAway
}
func (h hanging) Delete(context.Context, string) error { <-h.release; return nil }

// What damage takes away is not made up for by another history: not by that
// before a restore, and not by a backup from before the log was archived.
func TestDamageBringsNoOtherHistory(t *testing.T) {
	t.Parallel()
	for _, lose := range []string{"segment", "backup"} {
		h, target := newHistory(t), newMemory()
		h.set("k", "unarchived")
		must(t, h.backup(target))
		a := h.archiver(target, 1<<20)
		a.Turn(t.Context())
		h.set("k", "old")
		must(t, h.backup(target))
		old := h.snapshot()
		h.set("k", "newer")
		a.Turn(t.Context())
		h.restore(old)
		a.Turn(t.Context())
		must(t, h.backup(target))
		h.set("k", "newest")
		a.Turn(t.Context())
		victims := target.names("log/")
		if lose == "backup" {
			victims = target.names("snap/")
		}
		victim := victims[len(victims)-1]
		target.objects[victim][60] ^= 1
		for _, p := range []journal.Point{{}, {Time: h.at(h.last)}} {
			if result, _, err := rebuild(target, p); err == nil {
				t.Errorf("%s, %+v: built index %d of another history from %s, with the notes %q", lose, p, result.Index, result.Backup, result.Notes)
			}
		}
	}
}

// Another history that has the index does not stand in for the youngest one when
// that is damaged: not one that a cluster lost with its quorum, and not another
// cluster's.
func TestDamageBringsNoOtherHistoryOfTheIndex(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ cluster, lose string }{{"", "log/"}, {"heir", "snap/"}} {
		target := newMemory()
		first, second := newHistory(t), newHistory(t)
		second.cluster, second.now = tt.cluster, first.now.Add(time.Hour)
		for _, h := range []*history{first, second} {
			a := h.archiver(target, 1<<20)
			a.Turn(t.Context())
			must(t, h.backup(target))
			for i := range 4 {
				h.set("k", fmt.Sprint(h.cluster, i, h.now))
			}
			a.Turn(t.Context())
		}
		victim := ""
		for _, name := range target.names(tt.lose) {
			if strings.HasSuffix(name, ".json") {
				continue
			}
			chain, _ := second.LogChain()
			if tt.lose == "log/" && strings.Contains(name, "-"+chain[:8]+"-") && !strings.Contains(name, fmt.Sprintf("%020d-", 1)) ||
				tt.lose == "snap/" && strings.Contains(name, fmt.Sprint(second.now.Add(-4*time.Second).UnixMilli())) {
				victim = name
			}
		}
		if victim == "" {
			t.Fatalf("%s: nothing to lose in %q", tt.lose, target.names(tt.lose))
		}
		target.objects[victim][60] ^= 1
		if result, _, err := rebuild(target, journal.Point{Index: second.last}); err == nil {
			t.Errorf("%s: built index %d of the other history from %s, with the notes %q", tt.lose, result.Index, result.Backup, result.Notes)
		}
	}
}

// The end is not that of another cluster which got less far.
func TestEndOfAnotherCluster(t *testing.T) {
	t.Parallel()
	h, target := newHistory(t), newMemory()
	for i := range 9 {
		h.set("k", fmt.Sprint(i))
	}
	must(t, h.backup(target))
	empty := newHistory(t)
	empty.cluster, empty.now = "empty", h.now.Add(time.Hour)
	empty.set("k", "0")
	must(t, empty.backup(target))
	if result, _, err := rebuild(target, journal.Point{}); !structs.IsCode(err, structs.Conflict) {
		t.Errorf("got %+v, %v, want code Conflict", result, err)
	}
}

// A chain gets one backup to stand on, whatever clocks say.
func TestOneBackupForAChain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, target := newHistory(t), newMemory()
		taken := 0
		source := &shared{history: h}
		a := journal.New(journal.Config{Source: source, Target: target, Lag: 5 * time.Second, Backup: func(context.Context) error {
			source.mu.Lock()
			defer source.mu.Unlock()
			taken++
			return h.backupOf(target, time.Now().Add(-3*time.Hour)) // by a clock that is behind that of the chain's beginning
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { a.Run(ctx) })
		time.Sleep(10 * time.Minute)
		cancel()
		done.Wait()
		if s := a.Status(); taken != 1 || s.AwaitBackup {
			t.Errorf("took %d backups, still waits: %v", taken, s.AwaitBackup)
		}
	})
}

// shared is a history that an Archiver may use while it runs.
type shared struct {
	*history
	mu sync.Mutex
}

func (s *shared) Committed() (first, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.Committed()
}

func (s *shared) Entry(index uint64) (*raft.Log, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.Entry(index)
}

func (s *shared) LogChain() (string, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.LogChain()
}

func (s *shared) StartLogChain(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.StartLogChain(id)
}

// What a chain's own backups need stays, though another cluster at the target got
// further and clocks differ by hours.
func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		backup func(h *history, target *memory)
	}{
		{"another cluster's backup is ahead", func(h *history, target *memory) {
			other := newHistory(t)
			other.cluster, other.last, other.now = "other", 1000, time.Now()
			must(t, other.backup(target))
		}},
		{"the backup's clock is ahead of the target's", func(h *history, target *memory) {
			must(t, h.backupOf(target, time.Now().Add(3*time.Hour)))
		}},
		{"one backup's clock is behind the other's", func(h *history, target *memory) {
			must(t, h.backupOf(target, time.Now().Add(-3*time.Hour)))
			h.set("k", "between")
			must(t, h.backupOf(target, time.Now()))
		}},
	} {
		h, target := newHistory(t), newMemory()
		h.archiver(target, 1<<20).Turn(t.Context())
		tt.backup(h, target)
		h.set("k", "1")
		h.archiver(target, 1<<20).Turn(t.Context())
		chain, start := h.LogChain()
		must(t, journal.Prune(t.Context(), target, h.cluster, chain, start))
		needed := fmt.Sprintf("-%020d-", h.last)
		if left := target.names("log/"); !slices.ContainsFunc(left, func(name string) bool { return strings.Contains(name, needed) }) {
			t.Errorf("%s: the segment up to entry %d is gone: %q are left", tt.name, h.last, left)
		}
	}
}

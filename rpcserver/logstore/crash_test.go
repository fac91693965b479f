package logstore_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"praetor/rpcserver/logstore"
)

// power is what two fake files share: after so many writes it is gone, and a
// write, or sync, under way at that moment may have happened or not.
type power struct {
	left int
	dice *rand.Rand
	gone bool
}

var errPower = errors.New("the power is gone")

// do does something to a disk, unless there is no power.
func (p *power) do(f func()) error {
	if p.left--; p.left > 0 {
		f()
		return nil
	}
	if !p.gone && p.dice.IntN(2) == 0 {
		f()
	}
	p.gone = true
	return errPower
}

// fakeFile knows what of it was synced.
type fakeFile struct {
	*power
	now, synced []byte
	pending     []func([]byte) // writes since the last sync
}

func (f *fakeFile) ReadAt(b []byte, at int64) (int, error) { return copy(b, f.now[at:]), nil }

func (f *fakeFile) WriteAt(b []byte, at int64) (int, error) {
	b = slices.Clone(b)
	return len(b), f.do(func() {
		write := func(to []byte) { copy(to[at:], b) }
		write(f.now)
		f.pending = append(f.pending, write)
	})
}

func (f *fakeFile) Sync() error {
	return f.do(func() { copy(f.synced, f.now); f.pending = nil })
}

func (f *fakeFile) Close() error { return nil }

// after is the file as a next start finds it: a process that ends loses nothing, a
// power failure any of the writes that were not synced.
func (f *fakeFile) after(p *power, failure bool) *fakeFile {
	content := slices.Clone(f.now)
	if failure {
		content = slices.Clone(f.synced)
		for _, write := range f.pending {
			if p.dice.IntN(2) == 0 {
				write(content)
			}
		}
	}
	return &fakeFile{power: p, now: content, synced: slices.Clone(content)}
}

// fakeLog is a library's store: each change is all on disk or not at all.
type fakeLog struct {
	*raft.InmemStore
	*power
	entries map[uint64]raft.Log
	values  map[string]string
	numbers map[string]uint64
}

func newFakeLog() *fakeLog {
	return &fakeLog{InmemStore: raft.NewInmemStore(), entries: map[uint64]raft.Log{}, values: map[string]string{}, numbers: map[string]uint64{}}
}

func (l *fakeLog) bound(f func(a, b uint64) uint64) (index uint64, err error) {
	for i := range l.entries {
		if index == 0 {
			index = i
		}
		index = f(index, i)
	}
	return index, nil
}

func (l *fakeLog) FirstIndex() (uint64, error) {
	return l.bound(func(a, b uint64) uint64 { return min(a, b) })
}
func (l *fakeLog) LastIndex() (uint64, error) {
	return l.bound(func(a, b uint64) uint64 { return max(a, b) })
}

func (l *fakeLog) GetLog(index uint64, log *raft.Log) error {
	entry, ok := l.entries[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*log = entry
	log.Extensions = slices.Clone(entry.Extensions)
	return nil
}

func (l *fakeLog) StoreLogs(logs []*raft.Log) error {
	return l.do(func() {
		for _, log := range logs {
			entry := *log
			entry.Extensions = slices.Clone(log.Extensions)
			l.entries[log.Index] = entry
		}
	})
}

func (l *fakeLog) DeleteRange(first, last uint64) error {
	return l.do(func() {
		maps.DeleteFunc(l.entries, func(i uint64, _ raft.Log) bool { return first <= i && i <= last })
	})
}

func (l *fakeLog) Set(key, value []byte) error {
	return l.do(func() { l.values[string(key)] = string(value) })
}
func (l *fakeLog) Get(key []byte) ([]byte, error) { return []byte(l.values[string(key)]), nil }
func (l *fakeLog) SetUint64(key []byte, n uint64) error {
	return l.do(func() { l.numbers[string(key)] = n })
}
func (l *fakeLog) GetUint64(key []byte) (uint64, error) { return l.numbers[string(key)], nil }
func (l *fakeLog) Close() error                         { return nil }

// promise is what was said to be on disk, or, of the one change that was under
// way, may be.
type promise struct {
	first, last    uint64
	terms          map[uint64]uint64 // by index
	term, voteTerm uint64
	candidate      string
	snapshot       uint64
}

func (p promise) clone() promise {
	p.terms = maps.Clone(p.terms)
	return p
}

// step makes one random change of those that raft makes.
func step(dice *rand.Rand, p *promise) (do func(s *logstore.Store) error) {
	switch n := dice.IntN(12); {
	case n < 5: // append
		var logs []*raft.Log
		for range 1 + dice.IntN(3) {
			p.last++
			if p.first == 0 {
				p.first = p.last
			}
			p.terms[p.last] = p.term
			log := &raft.Log{Index: p.last, Term: p.term, Data: fmt.Append(nil, p.last, p.term)}
			if dice.IntN(8) == 0 {
				log.Type, log.Data = raft.LogConfiguration, raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(fmt.Sprint(dice.IntN(3)))}}})
			}
			logs = append(logs, log)
		}
		return func(s *logstore.Store) error { return s.StoreLogs(logs) }
	case n < 7 && p.last > p.first: // what another leader takes back
		from, to := p.first+1+uint64(dice.IntN(int(p.last-p.first))), p.last
		for i := from; i <= to; i++ {
			delete(p.terms, i)
		}
		p.last = from - 1
		return func(s *logstore.Store) error { return s.DeleteRange(from, to) }
	case n < 8 && p.last > p.first: // behind a snapshot
		from, to := p.first, p.first+uint64(dice.IntN(int(p.last-p.first)))
		for i := from; i <= to; i++ {
			delete(p.terms, i)
		}
		p.first = to + 1
		p.snapshot = max(p.snapshot, to)
		return func(s *logstore.Store) error {
			if err := s.NoteSnapshot(to, raft.Configuration{}); err != nil {
				return err
			}
			return s.DeleteRange(from, to)
		}
	case n < 10:
		p.term++
		term := p.term
		return func(s *logstore.Store) error { return s.SetUint64([]byte("CurrentTerm"), term) }
	default:
		p.voteTerm, p.candidate = p.term, fmt.Sprint("candidate ", dice.IntN(5))
		term, candidate := p.voteTerm, p.candidate
		return func(s *logstore.Store) error {
			if err := s.SetUint64([]byte("LastVoteTerm"), term); err != nil {
				return err
			}
			return s.Set([]byte("LastVoteCand"), []byte(candidate))
		}
	}
}

// held fails unless the store has what was promised before the change that was
// under way, or after it.
func held(t *testing.T, s *logstore.Store, before, after promise) {
	t.Helper()
	between := func(what string, got, a, b uint64) {
		t.Helper()
		if got < min(a, b) || got > max(a, b) {
			t.Errorf("%s: got %d, want %d or %d", what, got, a, b)
		}
	}
	term, _ := s.GetUint64([]byte("CurrentTerm"))
	between("term", term, before.term, after.term)
	voteTerm, _ := s.GetUint64([]byte("LastVoteTerm"))
	between("term of the vote", voteTerm, before.voteTerm, after.voteTerm)
	candidate, _ := s.Get([]byte("LastVoteCand"))
	if c := string(candidate); c != before.candidate && c != after.candidate {
		t.Errorf("vote: got %q, want %q or %q", c, before.candidate, after.candidate)
	}
	last, _ := s.LastIndex()
	between("last index", last, before.last, after.last)
	between("snapshot", s.Snapshot(), before.snapshot, after.snapshot)
	between("reached", s.Reached(), max(min(before.last, after.last), before.snapshot), max(before.last, after.last, after.snapshot))
	for index, want := range before.terms {
		if _, stays := after.terms[index]; !stays {
			continue
		}
		var log raft.Log
		if err := s.GetLog(index, &log); err != nil || log.Term != want {
			t.Errorf("entry %d: got term %d, %v, want %d", index, log.Term, err, want)
		}
	}
}

// At whatever point a server stops, by itself or for lack of power, the next start
// finds no damage, and all that was promised. And the one after that too.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(1000) {
		dice := rand.New(rand.NewPCG(seed, 1))
		p := &power{left: 1 << 30, dice: dice}
		log, file := newFakeLog(), &fakeFile{power: p, now: make([]byte, logstore.BookSize), synced: make([]byte, logstore.BookSize)}
		log.power = p
		if err := logstore.NewOver(log, file, "me"); err != nil {
			t.Fatal(err)
		}
		before := promise{terms: map[uint64]uint64{}}
		after := before.clone()
		for life := range 4 {
			s, err := logstore.OpenOver(log, file)
			if err != nil && !p.gone {
				t.Fatalf("seed %d, start %d: %v", seed, life, err)
			}
			if err == nil {
				held(t, s, before, after)
				if t.Failed() {
					t.Fatalf("seed %d, start %d: before %+v, after %+v", seed, life, before, after)
				}
				// What stands is what counts from now on.
				after.last, _ = s.LastIndex()
				after.first, _ = s.FirstIndex()
				after.snapshot = s.Snapshot()
				after.term, _ = s.GetUint64([]byte("CurrentTerm"))
				after.voteTerm, _ = s.GetUint64([]byte("LastVoteTerm"))
				candidate, _ := s.Get([]byte("LastVoteCand"))
				after.candidate = string(candidate)
				after.terms = map[uint64]uint64{}
				for i, entry := range log.entries {
					after.terms[i] = entry.Term
				}
				before = after.clone()
				p.left = 1 + dice.IntN(60)
				for !p.gone {
					before = after.clone()
					if err := step(dice, &after)(s); err != nil && !p.gone {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
			}
			failure := dice.IntN(2) == 0
			p = &power{left: 1 << 30, dice: dice}
			if dice.IntN(3) == 0 {
				p.left = 1 + dice.IntN(3) // the next start does not get far either
			}
			file, log.power = file.after(p, failure), p
		}
	}
}

// A process that ends leaves it known to the last entry how much there must be.
func TestLossIsNoticed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nothing", "newest entry", "term", "vote"} {
		t.Run(name, func(t *testing.T) {
			p := &power{left: 1 << 30, dice: rand.New(rand.NewPCG(1, 1))}
			log, file := newFakeLog(), &fakeFile{power: p, now: make([]byte, logstore.BookSize), synced: make([]byte, logstore.BookSize)}
			log.power = p
			if err := logstore.NewOver(log, file, "me"); err != nil {
				t.Fatal(err)
			}
			s, err := logstore.OpenOver(log, file)
			if err != nil {
				t.Fatal(err)
			}
			for i := range uint64(9) {
				for _, err := range []error{
					s.SetUint64([]byte("CurrentTerm"), i+1), s.SetUint64([]byte("LastVoteTerm"), i+1), s.Set([]byte("LastVoteCand"), fmt.Append(nil, i)),
					s.StoreLog(&raft.Log{Index: i + 1, Term: i + 1}),
				} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			switch name {
			case "newest entry":
				delete(log.entries, 9)
			case "term":
				log.numbers["CurrentTerm"] = 8
			case "vote":
				log.values["LastVoteCand"] = "6"
			}
			if _, err := logstore.OpenOver(log, file); (err == nil) != (name == "nothing") {
				t.Errorf("got %v", err)
			}
		})
	}
}

package logstore

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	raftwal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"

	"praetor/structs"
)

// Store is a raft.LogStore and raft.StableStore over one of the two libraries,
// which seals what it is given and keeps the record.
//
// Log and record are two files, so a crash may come between any two writes:
//
//   - An append is on disk before the record hints at it. So there may be entries
//     behind the last one that the record knows; they are as good as others.
//   - The record says, for good, that the log ends earlier before the end is cut
//     off. After a crash in between, the entries are still there. That is as if it
//     had come before: they were never committed, and raft cuts them off again.
//   - A vote or term is in the record, for good, before the library has it. After
//     a crash in between, Open completes it: nobody has heard of it yet, and a
//     server may always be in a later term or have voted without saying so.
//
// So a log with fewer entries than the record says, or with other values than the
// record has or had before, is damaged.
type Store struct {
	path    string // of the log
	inner   backend
	first   atomic.Uint64 // oldest entry, 0 if there is none
	last    atomic.Uint64 // newest entry, 0 if there is none
	since   uint64        // as in the record
	repair  atomic.Uint64 // as in the record
	reach   atomic.Uint64 // of the record
	covered atomic.Uint64 // as snapshot in the record
	damages atomic.Uint64 // entries read that were not what was written
	broken  atomic.Pointer[error]

	writing sync.Mutex // held while writing; guards the fields below
	book    book
	sealer  sealer

	mu    sync.Mutex // guards the fields below; never held while the disk works
	votes votes      // the record's
	kept  votes      // the library's
}

// The stable values that raft has.
const (
	keyTerm      = "CurrentTerm"
	keyVoteTerm  = "LastVoteTerm"
	keyCandidate = "LastVoteCand"

	keyOwner = "PraetorOwner" // ours, beside them: the log has seals, and a record, and is this server's
)

// load compares the log with the record.
func (s *Store) load() error {
	r := s.book.record
	first, err := s.inner.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.inner.LastIndex()
	if err != nil {
		return err
	}
	if last < r.last {
		return damaged(s.path, fmt.Errorf("it ends at entry %d, and this server had come to %d", last, r.last))
	}
	s.first.Store(first)
	s.last.Store(last)
	s.since = r.since
	if s.kept, err = readVotes(s.inner); err != nil {
		return damaged(s.path, err)
	}
	if !s.kept.covers(r.votes, r.before) {
		return damaged(s.path, errors.New("the term and vote are not what they were"))
	}
	if s.kept != r.votes {
		if err := writeVotes(s.inner, r.votes); err != nil {
			return err
		}
		s.kept = r.votes
	}
	s.votes = r.votes
	s.book.record.last = last
	s.noted()
	return nil
}

func readVotes(b backend) (v votes, err error) {
	if v.term, err = b.GetUint64([]byte(keyTerm)); err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return v, err
	}
	if v.voteTerm, err = b.GetUint64([]byte(keyVoteTerm)); err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return v, err
	}
	candidate, err := b.Get([]byte(keyCandidate))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return v, err
	}
	v.candidate = string(candidate)
	return v, nil
}

func writeVotes(b backend, v votes) error {
	return errors.Join(b.SetUint64([]byte(keyTerm), v.term), b.SetUint64([]byte(keyVoteTerm), v.voteTerm),
		b.Set([]byte(keyCandidate), []byte(v.candidate)))
}

// noted brings up to date what others see of the record.
func (s *Store) noted() {
	s.repair.Store(s.book.record.repair)
	s.reach.Store(s.book.record.reached())
	s.covered.Store(s.book.record.snapshot)
}

// note writes the record. Its caller holds writing.
func (s *Store) note(r record) error {
	if err := s.book.write(r); err != nil {
		return fmt.Errorf("cannot write the record of the raft log: %w", err)
	}
	s.noted()
	return nil
}

// change has the library write something. After a panic nothing more is done
// with it: it may be half way through something.
func (s *Store) change(do func() error) error {
	if broken := s.broken.Load(); broken != nil {
		return *broken
	}
	err := guard(s.path, do)
	if structs.IsCode(err, structs.Corrupt) {
		s.broken.Store(&err)
	}
	return err
}

// FirstIndex is the oldest entry's, 0 if there is none.
func (s *Store) FirstIndex() (uint64, error) { return s.first.Load(), nil }

// LastIndex is the newest entry's, 0 if there is none.
func (s *Store) LastIndex() (uint64, error) { return s.last.Load(), nil }

// GetLog reads an entry. One that is not there is raft.ErrLogNotFound, and a
// damaged one an error with the code Corrupt.
func (s *Store) GetLog(index uint64, log *raft.Log) error {
	if index < s.first.Load() || index > s.last.Load() {
		return raft.ErrLogNotFound // raft-wal may still have it, in a file that has newer ones too
	}
	err := guard(s.path, func() error { return s.inner.GetLog(index, log) })
	switch {
	case err == nil:
		err = verify(log, index, s.since)
	case errors.Is(err, raft.ErrLogNotFound), errors.Is(err, raftwal.ErrClosed), errors.Is(err, bbolt.ErrDatabaseNotOpen):
		return err
	}
	if err != nil {
		s.damages.Add(1)
		return structs.Errorf(structs.Corrupt, "entry %d of %s is damaged (%v)", index, s.path, err)
	}
	return nil
}

// StoreLog stores an entry.
func (s *Store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores entries, all or none, and returns when they are on disk.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	sealed := s.sealer.seal(logs)
	defer s.sealer.release()
	if err := s.change(func() error { return s.inner.StoreLogs(sealed) }); err != nil {
		return err
	}
	last := max(s.last.Load(), logs[len(logs)-1].Index)
	s.last.Store(last)
	s.first.CompareAndSwap(0, logs[0].Index)
	r := s.book.record
	r.last = last
	for _, log := range logs {
		if log.Type == raft.LogConfiguration {
			r.notePeers(raft.DecodeConfiguration(log.Data))
		}
	}
	if r.peers != s.book.record.peers {
		return s.note(r)
	}
	err := s.book.hint(last)
	s.noted()
	if err != nil { // a server that cannot write 20 bytes over others has no disk any more
		return fmt.Errorf("cannot write the record of the raft log: %w", err)
	}
	return nil
}

// DeleteRange deletes the entries from one index to another, both included:
// at the old end behind a snapshot, or at the new end what another leader has
// taken back.
func (s *Store) DeleteRange(first, last uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if r := s.book.record; last >= r.last && first > 0 && first <= r.last {
		r.last = first - 1
		if first <= s.first.Load() {
			r.last = 0 // nothing is left
		}
		if err := s.note(r); err != nil {
			return err
		}
	}
	err := s.change(func() error { return s.inner.DeleteRange(first, last) })
	if err != nil {
		return err
	}
	oldest, err := s.inner.FirstIndex()
	if err != nil {
		return err
	}
	newest, err := s.inner.LastIndex()
	s.first.Store(oldest)
	s.last.Store(newest)
	return err
}

// set changes one of the values of votes, in the record and in the library.
func (s *Store) set(edit func(*votes), inner func() error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	r, now := s.book.record, s.votes
	r.before = s.kept
	s.mu.Unlock()
	edit(&now)
	r.votes = now
	if err := s.note(r); err != nil {
		return err
	}
	s.mu.Lock()
	s.votes = now
	s.mu.Unlock()
	if err := s.change(inner); err != nil {
		return err
	}
	s.mu.Lock()
	s.kept = now
	s.mu.Unlock()
	return nil
}

func unknownKey(key []byte) error {
	return fmt.Errorf("no stable value of this type is called %q", key) // the record has no room for it
}

// Set stores the one stable value of raft's that is no number.
func (s *Store) Set(key, value []byte) error {
	if string(key) != keyCandidate || len(value) > maxText {
		return unknownKey(key)
	}
	return s.set(func(v *votes) { v.candidate = string(value) }, func() error { return s.inner.Set(key, value) })
}

// Get returns what was Set, nil if nothing was.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case string(key) != keyCandidate:
		return nil, unknownKey(key)
	case s.votes.candidate == "":
		return nil, nil
	}
	return []byte(s.votes.candidate), nil
}

// number is the one of the stable values that are numbers.
func (v *votes) number(key []byte) *uint64 {
	switch string(key) {
	case keyTerm:
		return &v.term
	case keyVoteTerm:
		return &v.voteTerm
	}
	return nil
}

// SetUint64 stores one of the stable values that are numbers.
func (s *Store) SetUint64(key []byte, n uint64) error {
	if new(votes).number(key) == nil {
		return unknownKey(key)
	}
	return s.set(func(v *votes) { *v.number(key) = n }, func() error { return s.inner.SetUint64(key, n) })
}

// GetUint64 returns one of the stable values that are numbers, 0 if it was never set.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.votes.number(key); n != nil {
		return *n, nil
	}
	return 0, unknownKey(key)
}

// IsMonotonic reports whether the library takes no gaps between indexes.
func (s *Store) IsMonotonic() bool {
	store, ok := s.inner.(raft.MonotonicLogStore)
	return ok && store.IsMonotonic()
}

// NoteSnapshot remembers that there is a snapshot of this index.
func (s *Store) NoteSnapshot(index uint64, c raft.Configuration) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	r := s.book.record
	if index > r.last || r.peers == 0 { // it is the newest word on who votes
		r.notePeers(c)
	}
	r.snapshot = max(r.snapshot, index)
	return s.note(r)
}

// Reached is how far this server had come: its log and snapshots go to there.
func (s *Store) Reached() uint64 { return s.reach.Load() }

// Repairing is the index that must be committed here before this server votes
// again, 0 if it may vote.
func (s *Store) Repairing() uint64 { return s.repair.Load() }

// Snapshot is the index of the newest snapshot that was noted.
func (s *Store) Snapshot() uint64 { return s.covered.Load() }

// Damages is how many entries were read since Open that were not what was written.
func (s *Store) Damages() uint64 { return s.damages.Load() }

// SetRepairing sets what Repairing returns.
func (s *Store) SetRepairing(until uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	r := s.book.record
	r.repair = until
	return s.note(r)
}

// Close closes log and record.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return errors.Join(guard(s.path, s.inner.Close), s.book.file.Close())
}

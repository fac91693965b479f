package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"praetor/structs"
)

// Reader reads the log of a server that does not run, and changes nothing.
type Reader struct {
	Path        string // raft.db, or the directory of a raft-wal
	First, Last uint64 // oldest and newest entry; 0: there is none
	Term        uint64 // the last that the server has heard of
	Reached     uint64 // how far it had come; 0 if that is not known
	Damage      error  // what is wrong with the log as a whole, or with its record; nil if nothing is

	inner  reader
	kind   kind
	record record
	known  bool // there is a record
	votes  votes
}

// reader reads a log in one of the two formats.
type reader interface {
	bounds() (first, last uint64, err error)

	// entry returns the entry at the index with its seal, or the next one after it
	// that is there; nil if there is none. An error is about the one at the index.
	entry(index uint64) (*raft.Log, error)

	value(key string) ([]byte, error)
	number(value []byte) uint64
	close() error
}

// Read opens the log in a raft directory. The error says, with code NotFound, that
// there is none, with Busy that a server runs on it, and with Corrupt that nothing
// of it can be read.
func Read(dir string) (*Reader, error) {
	var r record
	var wrong error
	file, err := os.Open(bookPath(dir))
	known := err == nil
	if known {
		b, _, err := openBook(file)
		file.Close()
		r = b.record
		if known = err == nil; !known {
			wrong = damaged(bookPath(dir), err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	k := r.kind
	if !known {
		switch {
		case present(boltdb.path(dir)):
			k = boltdb
		case present(wal.path(dir)):
			k = wal
		default:
			return nil, structs.Errorf(structs.NotFound, "%s is not the data directory of a server: it has neither raft/raft.db nor raft/wal", filepath.Dir(dir))
		}
	}
	l, err := read(dir, k)
	if err != nil {
		return nil, err
	}
	l.record, l.known, l.Damage = r, known, wrong
	if known {
		l.compare()
	}
	return l, nil
}

// read opens the log of this kind, without its record.
func read(dir string, k kind) (*Reader, error) { return readAt(k.path(dir), k) }

func readAt(path string, k kind) (*Reader, error) {
	l := &Reader{Path: path, kind: k}
	err := guard(path, func() (err error) {
		if k == wal {
			l.inner, err = readWAL(path)
		} else {
			l.inner, err = readBolt(path)
		}
		if err == nil {
			l.First, l.Last, err = l.inner.bounds()
		}
		if err == nil {
			l.votes, err = l.readVotes()
		}
		l.Term = l.votes.term
		return err
	})
	if err == nil {
		return l, nil
	}
	if l.inner != nil {
		l.Close()
	}
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, inUse(path)
	}
	return nil, structs.Errorf(structs.Corrupt, "%s is damaged or not a raft log (%v); nothing was changed", path, err)
}

func (l *Reader) readVotes() (v votes, err error) {
	for key, to := range map[string]*uint64{keyTerm: &v.term, keyVoteTerm: &v.voteTerm} {
		value, err := l.inner.value(key)
		switch {
		case err != nil:
			return v, err
		case len(value) == 8:
			*to = l.inner.number(value)
		case len(value) > 0:
			return v, fmt.Errorf("the value of %s is no number", key)
		}
	}
	candidate, err := l.inner.value(keyCandidate)
	v.candidate = string(candidate)
	return v, err
}

// compare looks whether the log is what the record says.
func (l *Reader) compare() {
	l.Term = max(l.Term, l.record.votes.term)
	l.Reached = max(l.record.reached(), l.record.repair)
	switch owner, err := l.inner.value(keyOwner); {
	case l.record.renew:
		l.Damage = damaged(l.Path, errors.New("it was being replaced by a new one when the server stopped"))
	case err != nil:
		l.Damage = damaged(l.Path, err)
	case len(owner) > 0 && string(owner) != l.record.owner:
		l.Damage = structs.Errorf(structs.Corrupt, "%s belongs to server %s, and its record to %s", l.Path, owner, l.record.owner)
	case !l.votes.covers(l.record.votes, l.record.before):
		l.Damage = damaged(l.Path, errors.New("the term and vote are not what they were"))
	}
}

// Entry returns the entry at the index, or the next one after it that is there,
// of which only the index counts; nil if there is none. An error is about the one
// at the index: it cannot be read or is not what was written.
func (l *Reader) Entry(index uint64) (entry *raft.Log, err error) {
	err = guard(l.Path, func() error {
		entry, err = l.inner.entry(index)
		return err
	})
	if err != nil || entry == nil || entry.Index > index && entry.Term == 0 {
		return entry, err
	}
	since := uint64(1<<64 - 1)
	if l.known {
		since = l.record.since
	}
	return entry, verify(entry, index, since)
}

// Close gives the log back.
func (l *Reader) Close() error { return guard(l.Path, l.inner.close) }

package recovery

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// Log is the raft log of a server that does not run, open for reading only.
type Log struct {
	file        string // raft.db, or the directory of a raft-wal
	source      source
	First, Last uint64 // 0: it is empty
	Term        uint64 // the last that the server has heard of
}

// source is a log as one of the two backends keeps it.
type source interface {
	bounds() (first, last uint64, err error)
	term() (uint64, error)
	reached() uint64

	// entry returns the entry at the index, or the next one after it that is
	// there; nil if there is none. An error is about the one at the index.
	entry(index uint64) (*raft.Log, error)
	close() error
}

// OpenLog opens the log in a data directory. The error says, with code
// NotFound, that there is none, with Busy that a server runs on it, and with
// Corrupt that nothing of it can be read.
func OpenLog(dataDir string) (*Log, error) {
	bolt, wal := filepath.Join(dataDir, "raft", "raft.db"), filepath.Join(dataDir, "raft", "wal")
	l := &Log{}
	var err error
	switch {
	case exists(bolt):
		l.file = bolt
		l.source, err = openBolt(bolt)
	case exists(wal):
		l.file = wal
		l.source, err = openWAL(wal)
	default:
		return nil, structs.Errorf(structs.NotFound, "%s is not the data directory of a server: it has neither raft/raft.db nor raft/wal", dataDir)
	}
	if err == nil {
		err = guard(func() (err error) {
			l.First, l.Last, err = l.source.bounds()
			if err == nil {
				l.Term, err = l.source.term()
			}
			return err
		})
		if err != nil {
			l.source.close()
		}
	}
	if err != nil && !structs.IsCode(err, structs.Busy) {
		err = structs.Errorf(structs.Corrupt, "%s is damaged or not a raft log (%v); nothing was changed", l.file, err)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Close gives the log back.
func (l *Log) Close() error { return guard(l.source.close) }

// patience is how many entries in a row may be damaged before the rest is given
// up: a log whose bounds are damaged may seem to be endless.
const patience = 10000

// Stretch is one entry, or a stretch of indexes that cannot be read: then Entry
// is nil.
type Stretch struct {
	First, Last uint64
	Entry       *raft.Log
	Size        int    // of what the entry carries, in bytes
	Damage      string // what is wrong; "" for a gap with nothing in it
}

// Entries walks through the log from one index to another, both included.
func (l *Log) Entries(from, to uint64) iter.Seq[Stretch] {
	return func(yield func(Stretch) bool) {
		to = min(to, l.Last)
		damaged := 0
		for index := max(from, l.First); index <= to && index != 0; {
			var entry *raft.Log
			err := guard(func() (err error) {
				entry, err = l.source.entry(index)
				return err
			})
			s := Stretch{First: index, Last: index}
			switch {
			case err != nil:
				s.Damage = err.Error()
				if damaged++; damaged > patience {
					s.Last = to
				}
			case entry == nil:
				s.Last = to
			case entry.Index > index: // nothing is there before it
				s.Last = min(entry.Index-1, to)
			default:
				s.Entry, s.Size, damaged = entry, len(entry.Data)+len(entry.Extensions), 0
			}
			if !yield(s) {
				return
			}
			index = s.Last + 1
		}
	}
}

// OpenLocked opens the log with the data directory locked, so that no server
// starts on it meanwhile. The function gives both back.
func OpenLocked(dataDir string) (*Log, func(), error) {
	dir, err := lock(dataDir)
	if err != nil {
		return nil, nil, err
	}
	l, err := OpenLog(dir.path)
	if err != nil {
		dir.close()
		return nil, nil, err
	}
	return l, func() { l.Close(); dir.close() }, nil
}

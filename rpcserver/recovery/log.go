package recovery

import (
	"iter"
	"path/filepath"

	"github.com/hashicorp/raft"

	"praetor/rpcserver/logstore"
)

// Log is the raft log of a server that does not run, open for reading only.
type Log struct{ *logstore.Reader }

// OpenLog opens the log in a data directory. The error says, with code
// NotFound, that there is none, with Busy that a server runs on it, and with
// Corrupt that nothing of it can be read.
func OpenLog(dataDir string) (*Log, error) {
	reader, err := logstore.Read(filepath.Join(dataDir, "raft"))
	if err != nil {
		return nil, err
	}
	return &Log{reader}, nil
}

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
			entry, err := l.Entry(index)
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

package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"praetor/structs"
)

// Open opens the log in the raft directory of the server with the node id owner.
// One that is damaged is an error with the code Corrupt, and nothing of it is
// thrown away; one
// that another process uses has the code Busy; one of the other backend than
// Options ask for has the code Invalid. A log from before there were seals gets
// them for what is written from now on.
func Open(dir, owner string, o Options) (*Store, error) {
	b, k, err := locate(dir, owner, o.Backend)
	if err != nil {
		return nil, err
	}
	s := &Store{path: k.path(dir), book: b}
	if err := s.open(dir, owner, k, o); err != nil {
		if s.inner != nil {
			guard(s.path, s.inner.Close)
		}
		if s.book.file != nil {
			s.book.file.Close()
		}
		return nil, err
	}
	return s, nil
}

// locate finds the record, if there is one, and which kind of log there is or is
// to be.
func locate(dir, owner, backend string) (b book, k kind, err error) {
	file, err := os.OpenFile(bookPath(dir), os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k, err = locateOld(dir)
	case err != nil:
		err = fmt.Errorf("cannot open the record of the raft log: %w", err)
	default:
		b, _, err = openBook(file)
		k = b.record.kind
		switch {
		case err != nil:
			err = damaged(bookPath(dir), err)
		case b.record.owner != owner:
			err = structs.Errorf(structs.Corrupt, "%s belongs to server %s, and this one is %s: put the right files back, "+
				"or, if the file node-id of the data directory was changed, that", bookPath(dir), b.record.owner, owner)
		}
		if err != nil {
			file.Close()
		}
	}
	if err != nil {
		return book{}, 0, err
	}
	want := k
	if backend != "" {
		if want, err = kindOf(backend); err != nil {
			return b, k, err
		}
	}
	switch {
	case k == 0 && backend == "":
		k, err = kindOf(Default)
	case k == 0:
		k = want
	case k != want:
		err = structs.Errorf(structs.Invalid, "raft_logstore.backend is %q, and %s holds a %s log: leave it out, "+
			"or run `praetor operator raft convert -to=%s %s` first", backend, k.path(dir), kinds[k], backend, filepath.Dir(dir))
	}
	if err != nil && b.file != nil {
		b.file.Close()
	}
	return b, k, err
}

// locateOld says which kind of log there is without a record: 0 if there is none.
func locateOld(dir string) (kind, error) {
	bolt, log := present(boltdb.path(dir)), present(wal.path(dir))
	switch {
	case bolt && log:
		return 0, structs.Errorf(structs.Corrupt, "%s has two logs, raft.db and wal, and no record of which one counts: "+
			"move the one away that is not in use", dir)
	case bolt:
		return boltdb, nil
	case log:
		return wal, nil
	case present(filepath.Join(dir, "peers.info")): // is written at the first start, after the log
		return 0, structs.Errorf(structs.Corrupt, "%s is gone", boltdb.path(dir))
	}
	return 0, nil
}

func (s *Store) open(dir, owner string, k kind, o Options) error {
	known := s.book.file != nil
	if known && s.book.record.renew {
		if _, err := s.book.renew(dir, o); err != nil {
			return err
		}
	}
	if err := s.examine(dir, k, known); err != nil {
		return err
	}
	var err error
	if s.inner, err = k.open(s.path, o); err != nil {
		return err
	}
	return guard(s.path, func() error {
		if err := s.claim(dir, owner, k, known); err != nil {
			return err
		}
		return s.load()
	})
}

// examine looks at the files before the library does, which for some damage
// throws away what it does not know any more.
func (s *Store) examine(dir string, k kind, known bool) error {
	info, err := os.Stat(s.path)
	before := present(filepath.Join(dir, "peers.info"))
	if err != nil || !info.IsDir() && info.Size() == 0 {
		if known || before {
			return structs.Errorf(structs.Corrupt, "%s is gone", s.path)
		}
		return nil // a new server
	}
	if err := k.check(s.path); err != nil {
		return err
	}
	if k != wal || !known {
		return nil
	}
	r, err := read(dir, k)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Last < s.book.record.last {
		return damaged(s.path, fmt.Errorf("it ends at entry %d, and this server had come to %d", r.Last, s.book.record.last))
	}
	return nil
}

// claim makes the record if there is none, and sees that the log is ours.
func (s *Store) claim(dir, owner string, k kind, known bool) error {
	mark, err := s.inner.Get([]byte(keyOwner))
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		err = nil
	}
	switch {
	case err != nil:
		return damaged(s.path, err)
	case len(mark) > 0 && string(mark) != owner:
		return structs.Errorf(structs.Corrupt, "%s belongs to server %s, and this one is %s: put the right file back", s.path, mark, owner)
	case len(mark) > 0 && !known:
		return structs.Errorf(structs.Corrupt, "%s is gone, without which nobody can tell whether %s is whole", bookPath(dir), s.path)
	case len(mark) == 0 && known && s.book.record.sequence > 2:
		return damaged(s.path, errors.New("it does not say any more whose it is"))
	}
	if !known {
		r := record{kind: k, owner: owner}
		last, err := s.inner.LastIndex()
		if err != nil {
			return err
		}
		if r.votes, err = readVotes(s.inner); err != nil {
			return damaged(s.path, err)
		}
		if last > 0 && r.votes.term == 0 {
			return damaged(s.path, errors.New("it has entries, and no term"))
		}
		r.since, r.last, r.before = last+1, last, r.votes
		if err := syncDir(dir); err != nil {
			return err
		}
		if s.book, err = makeBook(dir, r); err != nil {
			return fmt.Errorf("cannot make the record of the raft log: %w", err)
		}
	}
	if len(mark) == 0 {
		return s.inner.Set([]byte(keyOwner), []byte(owner))
	}
	return nil
}

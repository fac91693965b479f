package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// Conversion says what Convert has done, or would do.
type Conversion struct {
	From, To    string // paths of the old log and the new one
	Kept        string // where the old one is now
	First, Last uint64 // entries that the new log has; 0: none
	Dropped     uint64 // entries before a gap, which only boltdb has room for; a snapshot covers them
}

const convertBatch = 1 << 20 // bytes of entries stored at once

// Convert makes a log of the other backend of the one in the raft directory of a
// server that does not run, with the node id owner. It reads back what it wrote
// before it counts, and keeps the old log beside the new one. A log that is damaged
// is refused with the code Corrupt. With dry it reads all and changes nothing.
//
// What counts is what the record says, so the one write that changes it makes the
// new log count. Before it the old log is as it was; after it all that may be left
// to do is to move the old log aside, and the next Convert does it.
func Convert(dir, owner, to string, o Options, dry bool) (c Conversion, err error) {
	target, err := kindOf(to)
	if err != nil {
		return c, err
	}
	if !dry { // this looks at everything, as a start does, and makes the record if there is none
		o.Backend = ""
		s, err := Open(dir, owner, o)
		if err != nil {
			return c, err
		}
		if err := s.Close(); err != nil {
			return c, err
		}
	}
	from, err := Read(dir)
	if err != nil {
		return c, err
	}
	defer from.Close()
	if from.Damage != nil {
		return c, from.Damage
	}
	c = Conversion{From: from.Path, To: target.path(dir), Kept: from.Path + ".old"}
	if left := (boltdb + wal - target).path(dir); from.kind == target && present(left) && !dry {
		c = Conversion{From: left, To: from.Path, Kept: left + ".old", First: from.First, Last: from.Last}
		return c, errors.Join(os.Rename(left, c.Kept), syncDir(dir))
	}
	if from.kind == target {
		return c, structs.Errorf(structs.Conflict, "%s is a %s log already", from.Path, to)
	}
	if present(c.Kept) {
		return c, structs.Errorf(structs.Conflict, "%s is there from an earlier conversion: delete it, or move it away, first", c.Kept)
	}
	if c.First, c.Dropped, err = from.sound(target); err != nil {
		return c, err
	}
	if c.First > 0 {
		c.Last = from.Last
	}
	if dry {
		return c, nil
	}
	return c, from.convert(dir, target, c, o)
}

// sound reads all entries. It returns the first one that the new log is to have,
// and how many are left out because a gap is behind them.
func (l *Reader) sound(target kind) (first, dropped uint64, err error) {
	first = l.First
	var count uint64
	for index := l.First; index != 0 && index <= l.Last; index++ {
		entry, err := l.Entry(index)
		if err == nil && entry == nil {
			err = errors.New("it is gone")
		}
		if err != nil {
			return 0, 0, structs.Errorf(structs.Corrupt, "entry %d of %s is damaged (%v): start the server, which says what can be done", index, l.Path, err)
		}
		if entry.Index > index {
			if target == wal {
				first, dropped = entry.Index, count
			}
			index = entry.Index - 1
			continue
		}
		count++
	}
	return first, dropped, nil
}

func (l *Reader) convert(dir string, target kind, c Conversion, o Options) error {
	made := c.To + ".new"
	if err := os.RemoveAll(made); err != nil { // of a conversion that was stopped
		return err
	}
	if err := l.copyTo(made, target, c.First, o); err != nil {
		return fmt.Errorf("cannot make %s: %w", made, err)
	}
	if err := l.same(made, target, c.First); err != nil {
		return err
	}
	if err := ownAs(dir, made, bookPath(dir)); err != nil {
		return err
	}
	if present(c.To) { // of a conversion that was stopped, and never in use
		if err := os.Rename(c.To, fmt.Sprintf("%s.unused-%s", c.To, time.Now().UTC().Format("20060102T150405"))); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Rename(made, c.To), syncDir(dir)); err != nil {
		return err
	}
	if err := recount(dir, target); err != nil {
		return err
	}
	return errors.Join(os.Rename(l.Path, c.Kept), syncDir(dir))
}

// recount makes the log of this kind the one that counts. All of it is sealed.
func recount(dir string, k kind) error {
	file, err := os.OpenFile(bookPath(dir), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	b, _, err := openBook(file)
	if err != nil {
		return err
	}
	r := b.record
	r.kind, r.since, r.before = k, 0, r.votes
	return b.write(r)
}

// copyTo makes a log of this kind with the entries from first on.
func (l *Reader) copyTo(path string, k kind, first uint64, o Options) (err error) {
	to, err := k.open(path, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := errors.Join(writeVotes(to, l.record.votes), to.Set([]byte(keyOwner), []byte(l.record.owner))); err != nil {
		return err
	}
	var batch []*raft.Log
	var sealer sealer
	size := 0
	store := func() error {
		if len(batch) == 0 {
			return nil
		}
		defer func() { batch, size = batch[:0], 0 }()
		return to.StoreLogs(sealer.seal(batch))
	}
	for index := first; index != 0 && index <= l.Last; index++ {
		entry, err := l.Entry(index)
		if err != nil {
			return err
		}
		if entry.Index > index { // a gap, which boltdb keeps
			index = entry.Index - 1
			continue
		}
		batch = append(batch, entry)
		if size += len(entry.Data); size >= convertBatch {
			if err := store(); err != nil {
				return err
			}
		}
	}
	return store()
}

// same compares a log that was made with this one.
func (l *Reader) same(path string, k kind, first uint64) error {
	made, err := readAt(path, k)
	if err != nil {
		return err
	}
	defer made.Close()
	made.known = true // every entry is sealed
	if made.votes != l.record.votes || made.First != first || first != 0 && made.Last != l.Last {
		return damaged(path, errors.New("it is not what was just written"))
	}
	for index := first; index != 0 && index <= l.Last; index++ {
		want, err := l.Entry(index)
		if err != nil {
			return err
		}
		got, err := made.Entry(index)
		if err != nil {
			return damaged(path, fmt.Errorf("entry %d: %w", index, err))
		}
		if got == nil || got.Index != want.Index {
			return damaged(path, fmt.Errorf("entry %d is not there", index))
		}
		var head [headSize]byte
		if index == want.Index && sumOf(&head, got, got.Extensions) != sumOf(&head, want, want.Extensions) {
			return damaged(path, fmt.Errorf("entry %d is another one", index))
		}
		index = max(index, want.Index-1)
	}
	return nil
}

// ownAs gives files to whom the directory belongs to: the server may run as
// another user than the operator.
func ownAs(dir string, paths ...string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(name, int(owner.Uid), int(owner.Gid))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

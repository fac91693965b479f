package logstore

import (
	"errors"
	"fmt"
	"os"
	"time"

	"praetor/structs"
)

// Renew puts an empty log in the place of a damaged one, with the term and vote
// of the record, and notes up to which index the server had come: see Repairing.
// The damaged log is kept, at the path that is returned.
//
// It refuses, with the code Corrupt, where that would not be sound or not help:
// if the record may not be the newest one, so that a vote may be forgotten, if it
// is another server's, or if there is no other voter to get the log from.
func Renew(dir, owner string, o Options) (aside string, until uint64, err error) {
	file, err := os.OpenFile(bookPath(dir), os.O_RDWR, 0o600)
	if err != nil {
		return "", 0, structs.Errorf(structs.Corrupt, "there is no record of the raft log: %v", err)
	}
	defer file.Close()
	b, sure, err := openBook(file)
	r := b.record
	switch {
	case err != nil:
		return "", 0, damaged(bookPath(dir), err)
	case !sure:
		return "", 0, damaged(bookPath(dir), errors.New("a newer record may have been in the part that cannot be read"))
	case r.owner != owner:
		return "", 0, structs.Errorf(structs.Corrupt, "%s belongs to server %s", bookPath(dir), r.owner)
	case r.peers == 0 || r.votes.term == 0:
		return "", 0, structs.Errorf(structs.Corrupt, "this server knows of no other voter")
	}
	r.repair = max(r.repair, r.reached())
	r.since, r.last, r.snapshot, r.renew = 0, 0, 0, true
	if err := b.write(r); err != nil {
		return "", 0, err
	}
	aside, err = b.renew(dir, o)
	return aside, r.repair, err
}

// renew completes what the record says has begun: the log that is there is moved
// aside and an empty one made. It can be stopped and begun again at any point.
func (b *book) renew(dir string, o Options) (aside string, err error) {
	r := b.record
	path := r.kind.path(dir)
	if present(path) {
		aside = path + ".damaged-" + time.Now().UTC().Format("20060102T150405")
		for n := 1; present(aside); n++ {
			aside = fmt.Sprintf("%s.damaged-%s-%d", path, time.Now().UTC().Format("20060102T150405"), n)
		}
		if err := os.Rename(path, aside); err != nil {
			return "", fmt.Errorf("cannot keep the damaged raft log: %w", err)
		}
	}
	fresh, err := r.kind.open(path, o)
	if err != nil {
		return aside, fmt.Errorf("cannot make a new raft log in place of a damaged one: %w", err)
	}
	err = errors.Join(writeVotes(fresh, r.votes), fresh.Set([]byte(keyOwner), []byte(r.owner)), fresh.Close(), syncDir(dir))
	if err != nil {
		return aside, fmt.Errorf("cannot make a new raft log in place of a damaged one: %w", err)
	}
	r.renew, r.before = false, r.votes
	return aside, b.write(r)
}

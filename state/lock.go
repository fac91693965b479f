package state

import (
	"time"

	"praetor/structs"
)

// lock is what a key knows of its lock. All but the session outlives the key in
// its tombstone: index never goes back as long as that stands.
type lock struct {
	session    string
	index      uint64
	delay      time.Duration // lock delay that a lost session left
	delayIndex uint64        // at this raft index
}

func lockOn(e *structs.DirEntry) lock {
	return lock{e.Session, e.LockIndex, e.LockDelay, e.LockDelayIndex}
}

// on writes the lock to a row.
func (l lock) on(e *structs.DirEntry) {
	e.Session, e.LockIndex, e.LockDelay, e.LockDelayIndex = l.session, l.index, l.delay, l.delayIndex
}

// remembered reports whether a tombstone has something to remember.
func (l lock) remembered() bool { return l.index != 0 || l.delayIndex != 0 }

// lockOf is the lock of a key, of whose row we know already: nil if it has none.
func (r *Reader) lockOf(row *structs.DirEntry, name string) lock {
	if row != nil {
		return lockOn(row)
	}
	if t := Tombstones.get(r, rawKey(name)); t != nil {
		return lock{index: t.LockIndex, delay: t.LockDelay, delayIndex: t.LockDelayIndex}
	}
	return lock{}
}

// LockDelay is the lock delay that was left on a key and the raft index at which
// it was left; that is 0 if there is none. Whether it is over is for those to
// say who have a clock.
func (r *Reader) LockDelay(name string) (delay time.Duration, index uint64) {
	l := r.lockOf(KVs.get(r, rawKey(name)), name)
	return l.delay, l.delayIndex
}

// lockKV writes a key and takes its lock for entry.Session. The holder may write
// so again. It does nothing, and returns false, if another session has the lock
// or the leader has not said that the lock delay is over.
func (w *Writer) lockKV(entry *structs.DirEntry) (bool, error) {
	if entry.Session == "" {
		return false, structs.Errorf(structs.Invalid, "missing session")
	}
	session := Sessions.get(&w.Reader, sessionKey(entry.Session))
	if session == nil {
		return false, structs.Errorf(structs.Invalid, "invalid session %q", entry.Session)
	}
	before := KVs.get(&w.Reader, rawKey(entry.Key))
	l := w.lockOf(before, entry.Key)
	switch {
	case l.delayIndex > entry.LockDelayIndex:
		return false, nil
	case l.session == "":
		l = lock{session: session.ID, index: l.index + 1}
	case !sameSession(l.session, session.ID):
		return false, nil
	}
	w.writeKV(before, entry, l)
	return true, nil
}

// unlockKV writes a key and gives its lock back, if entry.Session has it.
func (w *Writer) unlockKV(entry *structs.DirEntry) (bool, error) {
	if entry.Session == "" {
		return false, structs.Errorf(structs.Invalid, "missing session")
	}
	before := KVs.get(&w.Reader, rawKey(entry.Key))
	if before == nil || !sameSession(before.Session, entry.Session) {
		return false, nil
	}
	l := lockOn(before)
	l.session = ""
	w.writeKV(before, entry, l)
	return true, nil
}

// loseLock releases or deletes a key whose session is no more.
func (w *Writer) loseLock(before *structs.DirEntry, s *structs.Session) {
	l := lockOn(before)
	l.session = ""
	if delay := min(s.LockDelay, structs.MaxLockDelay); delay > 0 {
		l.delay, l.delayIndex = delay, w.index
	}
	if s.Behavior == structs.SessionDelete {
		w.bury(before.Key, l)
		w.removeKV(before)
		return
	}
	row := *before
	l.on(&row)
	row.ModifyIndex = w.index
	KVs.replace(w, before, &row)
	w.changed(KVs.name)
}

// fenced refuses what depends on a lock that is not held, or was taken anew
// since. A nil fence refuses nothing.
func (r *Reader) fenced(f *structs.Fence) error {
	if f == nil {
		return nil
	}
	row := KVs.get(r, rawKey(f.Key))
	switch {
	case row == nil || row.Session == "":
		return structs.Errorf(structs.Fenced, "fenced: the lock on key %q is not held", f.Key)
	case row.LockIndex != f.LockIndex:
		return structs.Errorf(structs.Fenced, "fenced: the lock on key %q is held under index %d, not %d", f.Key, row.LockIndex, f.LockIndex)
	}
	return nil
}

package state

import "praetor/structs"

// Tombstones remember deleted keys, so that neither the index of a list nor that
// of a lock goes back.
var Tombstones = newTable("tombstones", func(t *structs.Tombstone) Key { return rawKey(t.Key) })

var tombstonesByIndex = Tombstones.index("index", func(t *structs.Tombstone) Key { return numberKey(t.Index) })

// TombstoneIndex is the raft index at which the newest tombstone was made or,
// if none ever was, 0. Reaping does not lower it.
func (r *Reader) TombstoneIndex() uint64 { return r.tableIndex(Tombstones.name) }

// HasTombstones reports whether there is anything to reap.
func (r *Reader) HasTombstones() bool {
	for range tombstonesByIndex.ascending(r) {
		return true
	}
	return false
}

// tombstoneIndex is the highest index of the tombstones whose key begins with
// prefix. They are not watched: the keys they stand for are.
func (r *Reader) tombstoneIndex(prefix string) uint64 {
	quiet := &Reader{txn: r.txn}
	var index uint64
	for t := range Tombstones.prefix(quiet, rawKey(prefix)) {
		index = max(index, t.Index)
	}
	return index
}

// bury leaves a tombstone for a key or prefix, which remembers the key's lock.
func (w *Writer) bury(name string, l lock) {
	Tombstones.put(w, &structs.Tombstone{
		Key: name, Index: w.index,
		LockIndex: l.index, LockDelay: l.delay, LockDelayIndex: l.delayIndex,
	})
	w.changed(Tombstones.name)
}

// ApplyTombstone forgets tombstones up to an index.
func (w *Writer) ApplyTombstone(c *structs.TombstoneRequest) (struct{}, error) {
	if c.Op != structs.TombstoneReap {
		return struct{}{}, structs.Errorf(structs.Invalid, "Invalid Tombstone operation '%s'", c.Op)
	}
	var old []*structs.Tombstone
	for t := range tombstonesByIndex.ascending(&w.Reader) {
		if t.Index > c.ReapIndex {
			break
		}
		old = append(old, t)
	}
	for _, t := range old {
		Tombstones.remove(w, t)
	}
	return struct{}{}, nil
}

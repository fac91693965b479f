package state

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"praetor/structs"
)

// KVs are the keys, in the order of their bytes.
var KVs = newTable("kvs", func(e *structs.DirEntry) Key { return rawKey(e.Key) })

var kvsBySession = KVs.index("session", func(e *structs.DirEntry) Key {
	if e.Session == "" {
		return nil
	}
	return sessionKey(e.Session)
})

// KV returns the entry of a key, or nil. Its index is the entry's own; for a
// missing key, that of the table.
func (r *Reader) KV(name string) *structs.DirEntry {
	entry := KVs.get(r, rawKey(name))
	if entry == nil {
		r.missing = true
		r.saw(r.kvTableIndex())
		return nil
	}
	r.saw(entry.ModifyIndex)
	return entry
}

// KVTree returns the entries whose keys begin with prefix, in key order. Its
// index is the highest of theirs and of the tombstones under the prefix, so
// that a delete counts; where there is neither, that of the table.
func (r *Reader) KVTree(prefix string) []*structs.DirEntry {
	var found []*structs.DirEntry
	var index uint64
	for entry := range KVs.prefix(r, rawKey(prefix)) {
		found = append(found, entry)
		index = max(index, entry.ModifyIndex)
	}
	if prefix != "" {
		index = max(index, r.tombstoneIndex(prefix))
	}
	if prefix == "" || index == 0 {
		index = r.kvTableIndex()
	}
	r.saw(index)
	return found
}

// KVsUnder yields the entries whose keys begin with prefix, in key order. It is
// for going through more of them than should be held at once.
func (r *Reader) KVsUnder(prefix string) iter.Seq[*structs.DirEntry] {
	return KVs.prefix(r, rawKey(prefix))
}

// KVKeys returns the keys that begin with prefix, in order. With a separator,
// each key is cut after the first separator behind the prefix, and keys that
// are then alike are named once. Its index is that of KVTree.
func (r *Reader) KVKeys(prefix, separator string) []string {
	var keys []string
	for _, entry := range r.KVTree(prefix) {
		name := entry.Key
		if separator != "" {
			if i := strings.Index(name[len(prefix):], separator); i >= 0 {
				name = name[:len(prefix)+i+len(separator)]
			}
			if len(keys) > 0 && keys[len(keys)-1] == name {
				continue
			}
		}
		keys = append(keys, name)
	}
	return keys
}

func (r *Reader) kvTableIndex() uint64 {
	return max(r.tableIndex(KVs.name), r.tableIndex(Tombstones.name))
}

// RestoreKV stores a key of a snapshot as it is, with its TTL.
func RestoreKV(w *Writer, row *structs.DirEntry) {
	if row.TTL != 0 {
		KeyTTLs.Restore(w, &structs.KeyTTL{Key: row.Key, TTL: row.TTL, Index: row.TTLIndex}, 0)
	}
	row.TTLIndex = 0
	KVs.Restore(w, row, row.ModifyIndex)
}

// ApplyKV changes keys, if the fence lets it. What it returns means something
// for set if something, delete if something, lock and unlock only: whether they
// did anything.
func (w *Writer) ApplyKV(c *structs.KVSRequest) (bool, error) {
	if err := w.fenced(c.Fence); err != nil {
		return false, err
	}
	entry := &c.DirEnt
	switch c.Op {
	case structs.KVSet:
		w.setKV(entry)
		return false, nil
	case structs.KVDelete:
		w.deleteKV(entry.Key)
		return false, nil
	case structs.KVDeleteTree:
		w.deleteKVTree(entry.Key)
		return false, nil
	case structs.KVCAS:
		return w.casKV(entry), nil
	case structs.KVDeleteCAS:
		return w.deleteCASKV(entry), nil
	case structs.KVLock:
		return w.lockKV(entry)
	case structs.KVUnlock:
		return w.unlockKV(entry)
	case structs.KVExpire:
		return w.expireKV(entry), nil
	}
	return false, structs.Errorf(structs.Invalid, "Invalid KVS operation '%s'", c.Op)
}

// setKV writes a key and leaves its lock as it is.
func (w *Writer) setKV(entry *structs.DirEntry) {
	before := KVs.get(&w.Reader, rawKey(entry.Key))
	w.writeKV(before, entry, w.lockOf(before, entry.Key))
}

// writeKV puts entry, with the lock l, in the place of before, which is nil if
// there is none. A write that changes nothing wakes nobody; if the key has a
// TTL, that begins anew.
func (w *Writer) writeKV(before, entry *structs.DirEntry, l lock) {
	row := structs.DirEntry{Key: entry.Key, Flags: entry.Flags, Value: entry.Value, TTL: max(entry.TTL, 0)}
	if len(row.Value) == 0 {
		row.Value = nil
	}
	l.on(&row)
	w.startTTL(before, &row)
	row.CreateIndex, row.ModifyIndex = w.index, w.index
	if before != nil {
		row.CreateIndex = before.CreateIndex
		if lockOn(before) == l && before.TTL == row.TTL && before.Flags == row.Flags && bytes.Equal(before.Value, row.Value) {
			return
		}
	}
	KVs.replace(w, before, &row)
	w.changed(KVs.name)
}

func (w *Writer) casKV(entry *structs.DirEntry) bool {
	before := KVs.get(&w.Reader, rawKey(entry.Key))
	var index uint64
	if before != nil {
		index = before.ModifyIndex
	}
	if entry.ModifyIndex != index {
		return false
	}
	w.writeKV(before, entry, w.lockOf(before, entry.Key))
	return true
}

func (w *Writer) deleteKV(name string) {
	if before := KVs.get(&w.Reader, rawKey(name)); before != nil {
		w.bury(name, lockOn(before))
		w.removeKV(before)
	}
}

// removeKV takes a key out of the tables; its tombstone is the caller's business.
func (w *Writer) removeKV(before *structs.DirEntry) {
	w.startTTL(before, &structs.DirEntry{Key: before.Key})
	KVs.remove(w, before)
	w.changed(KVs.name)
}

// deleteCASKV calls the delete of a missing key a success, whatever the index.
func (w *Writer) deleteCASKV(entry *structs.DirEntry) bool {
	before := KVs.get(&w.Reader, rawKey(entry.Key))
	if before == nil {
		return true
	}
	if before.ModifyIndex != entry.ModifyIndex {
		return false
	}
	w.deleteKV(entry.Key)
	return true
}

// deleteKVTree leaves one tombstone for the whole prefix; none for everything,
// since a list of everything has the table's index. A key whose lock is to be
// remembered gets one of its own.
func (w *Writer) deleteKVTree(prefix string) {
	found := slices.Collect(KVs.prefix(&w.Reader, rawKey(prefix)))
	if len(found) == 0 {
		return
	}
	if prefix != "" {
		first := found[0]
		if first.Key != prefix {
			first = nil
		}
		w.bury(prefix, w.lockOf(first, prefix))
	}
	for _, entry := range found {
		if l := lockOn(entry); l.remembered() && (prefix == "" || entry.Key != prefix) {
			w.bury(entry.Key, l)
		}
		w.removeKV(entry)
	}
}

package state

import (
	"iter"

	"praetor/structs"
)

// KeyTTLs say of the keys that have a TTL since when it runs. Readers of keys do
// not look here, so the table has no index row, and to set a key to what it is
// already wakes none of them.
var KeyTTLs = newTable("key-ttls", func(t *structs.KeyTTL) Key { return rawKey(t.Key) })

var keyTTLsByIndex = KeyTTLs.index("index", func(t *structs.KeyTTL) Key { return numberKey(t.Index) })

// KeyTTL returns what runs on a key, or nil.
func (r *Reader) KeyTTL(name string) *structs.KeyTTL { return KeyTTLs.get(r, rawKey(name)) }

// KeyTTLsSince yields what began to run at the index or later, in that order.
// The whole table is watched.
func (r *Reader) KeyTTLsSince(index uint64) iter.Seq[*structs.KeyTTL] {
	KeyTTLs.All(r)
	return keyTTLsByIndex.from(r, numberKey(index))
}

// startTTL begins the TTL of row anew, or ends that of the row before it.
func (w *Writer) startTTL(before, row *structs.DirEntry) {
	switch {
	case row.TTL != 0:
		KeyTTLs.put(w, &structs.KeyTTL{Key: row.Key, TTL: row.TTL, Index: w.index})
	case before != nil && before.TTL != 0:
		if old := w.KeyTTL(row.Key); old != nil {
			KeyTTLs.remove(w, old)
		}
	}
}

// expireKV deletes a key whose TTL still runs since the index that the leader
// saw: a set that came in between wins.
func (w *Writer) expireKV(entry *structs.DirEntry) bool {
	ttl := w.KeyTTL(entry.Key)
	if ttl == nil || ttl.Index != entry.TTLIndex {
		return false
	}
	w.expiring = true
	w.deleteKV(entry.Key)
	w.expiring = false
	return true
}

package state

import (
	"bytes"
	"encoding/binary"
	"iter"
	"unsafe"

	"github.com/hashicorp/go-memdb"
)

// Key is the sort key of a row in an index.
type Key []byte

// key joins parts so that none is a prefix of another: each ends with a zero.
func key(parts ...string) Key {
	n := len(parts)
	for _, p := range parts {
		n += len(p)
	}
	k := make(Key, 0, n)
	for _, p := range parts {
		k = append(append(k, p...), 0)
	}
	return k
}

// rawKey is the text itself, so that a prefix of the text is a prefix of the key.
// It is not copied: nobody writes to a key, and the million keys of a large state
// would else be there twice.
func rawKey(s string) Key {
	if s == "" {
		return Key{} // nil would be no key
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// numberKey sorts as the number does.
func numberKey(n uint64) Key { return binary.BigEndian.AppendUint64(nil, n) }

// Table is a typed view of one memdb table. Its rows are shared by all readers:
// clone one before changing it.
type Table[T any] struct {
	name   string
	key    indexer[T]
	schema *memdb.TableSchema
}

// Index is a second way to find the rows of a table. Many rows may share a key.
type Index[T any] struct {
	table *Table[T]
	name  string
}

// anyTable is a table whatever its rows are.
type anyTable interface {
	Name() string
	Len(*Reader) int
	memdbSchema() *memdb.TableSchema
}

const primary = "id"

// newTable makes a table whose rows are found by a key that only one row has.
func newTable[T any](name string, of func(*T) Key) *Table[T] {
	return &Table[T]{name: name, key: of, schema: &memdb.TableSchema{
		Name: name,
		Indexes: map[string]*memdb.IndexSchema{
			primary: {Name: primary, Unique: true, Indexer: indexer[T](of)},
		},
	}}
}

// index adds another index; a row whose key is nil is left out of it.
func (t *Table[T]) index(name string, of func(*T) Key) *Index[T] {
	t.schema.Indexes[name] = &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: indexer[T](of)}
	return &Index[T]{table: t, name: name}
}

// each adds an index in which a row stands once for each of its keys.
func (t *Table[T]) each(name string, of func(*T) []Key) *Index[T] {
	t.schema.Indexes[name] = &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: multiIndexer[T](of)}
	return &Index[T]{table: t, name: name}
}

// Name is the table's name in the index rows.
func (t *Table[T]) Name() string { return t.name }

func (t *Table[T]) memdbSchema() *memdb.TableSchema { return t.schema }

// indexer gives memdb the key of a row, and passes a Key through as it is.
type indexer[T any] func(*T) Key

// FromObject is memdb's question for a row's key.
func (of indexer[T]) FromObject(row any) (bool, []byte, error) {
	k := of(row.(*T))
	return k != nil, k, nil
}

// FromArgs is memdb's question for the key that a query means.
func (indexer[T]) FromArgs(args ...any) ([]byte, error) { return args[0].(Key), nil }

// PrefixFromArgs is memdb's question for the prefix that a query means.
func (indexer[T]) PrefixFromArgs(args ...any) ([]byte, error) { return args[0].(Key), nil }

// multiIndexer gives memdb the keys of a row, and passes a Key through as it is.
type multiIndexer[T any] func(*T) []Key

// FromObject is memdb's question for a row's keys.
func (of multiIndexer[T]) FromObject(row any) (bool, [][]byte, error) {
	keys := of(row.(*T))
	raw := make([][]byte, len(keys))
	for i, k := range keys {
		raw[i] = k
	}
	return len(raw) > 0, raw, nil
}

// FromArgs is memdb's question for the key that a query means.
func (multiIndexer[T]) FromArgs(args ...any) ([]byte, error) { return args[0].(Key), nil }

// must turns memdb's errors, which mean a wrong schema, into a panic.
func must[V any](v V, err error) V {
	if err != nil {
		panic("state: " + err.Error())
	}
	return v
}

// get returns the row with exactly this key, or nil.
func (t *Table[T]) get(r *Reader, k Key) *T {
	if r.watches == nil {
		return t.lookUp(r, k)
	}
	watch, row, err := r.txn.FirstWatch(t.name, primary, k)
	r.watch(must(watch, err))
	if row == nil {
		return nil
	}
	return row.(*T)
}

// lookUp is get for who will not wait. It asks for the longest key that k begins
// with, since memdb makes a channel for whoever asks for k itself.
func (t *Table[T]) lookUp(r *Reader, k Key) *T {
	row, _ := must(r.txn.LongestPrefix(t.name, primary+"_prefix", k)).(*T)
	if row == nil || !bytes.Equal(t.key(row), k) {
		return nil
	}
	return row
}

// All yields every row in key order.
func (t *Table[T]) All(r *Reader) iter.Seq[*T] { return t.prefix(r, Key{}) }

// prefix yields the rows whose key begins with k, in key order.
func (t *Table[T]) prefix(r *Reader, k Key) iter.Seq[*T] {
	return watched[T](r, must(r.txn.Get(t.name, primary+"_prefix", k)))
}

// with yields the rows that have the key k in the index, in the order of their
// own keys.
func (i *Index[T]) with(r *Reader, k Key) iter.Seq[*T] {
	return watched[T](r, must(r.txn.Get(i.table.name, i.name, k)))
}

// ascending yields the rows in the order of the index. Nothing is watched.
func (i *Index[T]) ascending(r *Reader) iter.Seq[*T] { return i.from(r, Key{}) }

// from yields the rows in the order of the index, beginning with the first whose
// key is not less than k. Nothing is watched.
func (i *Index[T]) from(r *Reader, k Key) iter.Seq[*T] {
	return sequence[T](must(r.txn.LowerBound(i.table.name, i.name, k)))
}

func watched[T any](r *Reader, it memdb.ResultIterator) iter.Seq[*T] {
	r.watch(it.WatchCh())
	return sequence[T](it)
}

func sequence[T any](it memdb.ResultIterator) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for row := it.Next(); row != nil; row = it.Next() {
			if !yield(row.(*T)) {
				return
			}
		}
	}
}

// Len counts the rows.
func (t *Table[T]) Len(r *Reader) int {
	n := 0
	for range t.All(r) {
		n++
	}
	return n
}

// put stores row, in place of the one that had its key.
func (t *Table[T]) put(w *Writer, row *T) { t.replace(w, t.get(&w.Reader, t.key(row)), row) }

// replace stores row in the place of before, which has its key; nil if no row has.
func (t *Table[T]) replace(w *Writer, before, row *T) {
	c := change{table: t.name, after: row}
	if before != nil {
		c.before = before
	}
	w.journal = append(w.journal, c)
	w.insert(t.name, row)
}

// remove deletes a row that is there.
func (t *Table[T]) remove(w *Writer, row *T) {
	w.journal = append(w.journal, change{table: t.name, before: row, expired: w.expiring})
	w.delete(t.name, row)
}

// Restore stores a row of a snapshot as it is, indexes and all. If the snapshot
// has no index row for the table, CompleteIndexes makes one of at least index.
func (t *Table[T]) Restore(w *Writer, row *T, index uint64) {
	w.insert(t.name, row)
	if index > w.restored[t.name] {
		if w.restored == nil {
			w.restored = map[string]uint64{}
		}
		w.restored[t.name] = index
	}
}

package state

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"

	"praetor/structs"
)

// Tables is the table of contents: every table there is. A guard test checks
// that each of them goes through a snapshot.
var Tables = []anyTable{
	KVs, Tombstones, AutopilotConfig, Metadata, CarriedRecords, Indexes,
	Nodes, Services, Checks,
	Coordinates, PreparedQueries,
	KeyTTLs, Sessions,
}

// Indexes says at which raft index each table last changed.
var Indexes = newTable("index", func(e *structs.IndexEntry) Key { return key(e.Key) })

func newIndexEntry(name string, index uint64) *structs.IndexEntry {
	return &structs.IndexEntry{Key: strings.ToLower(name), Value: index}
}

// Store is one whole state. A restored snapshot is a new Store.
type Store struct {
	db        *memdb.MemDB
	history   *history
	epoch     atomic.Pointer[Epoch] // never newer than what readers see
	abandoned chan struct{}         // closed by Abandon
}

// New returns an empty store.
func New() *Store {
	schema := &memdb.DBSchema{Tables: make(map[string]*memdb.TableSchema, len(Tables))}
	for _, t := range Tables {
		schema.Tables[t.Name()] = t.memdbSchema()
	}
	s := &Store{db: must(memdb.NewMemDB(schema)), history: newHistory(), abandoned: make(chan struct{})}
	s.epoch.Store(&Epoch{})
	return s
}

// Abandon wakes every Reader that waits on this store, for good: another store
// has taken its place. It may be called once.
func (s *Store) Abandon() { close(s.abandoned) }

// Read returns a view of the state as it is now. It cannot wait.
func (s *Store) Read() *Reader {
	epoch := s.epoch.Load() // first: its floor must not be above what is seen
	return &Reader{txn: s.db.Txn(false), epoch: epoch}
}

// Watch returns a view of the state as it is now that remembers what was read,
// so that Wait can wait until some of it changes.
func (s *Store) Watch() *Reader {
	r := s.Read()
	r.watches = &watches{}
	r.watches.add(s.abandoned)
	return r
}

// Reader is an immutable view of the state. It remembers the index of what was
// read through it. A Reader is for one goroutine.
type Reader struct {
	txn     *memdb.Txn
	watches *watches // nil if nobody will wait
	epoch   *Epoch
	index   uint64
	missing bool
}

// Index is the raft index at which what was read last changed; 0 if it never did.
func (r *Reader) Index() uint64 { return r.index }

// Missing reports whether the thing that was asked for is not there. Such a
// read must not be woken by changes to its neighbours.
func (r *Reader) Missing() bool { return r.missing }

// Wait returns nil as soon as something that was read through r has changed, the
// store was abandoned or a channel given to WakeBy was closed, else ctx's error.
func (r *Reader) Wait(ctx context.Context) error { return r.watches.wait(ctx) }

// WakeBy has Wait return when ch is closed.
func (r *Reader) WakeBy(ch <-chan struct{}) { r.watch(ch) }

// LastIndex is the highest raft index at which any table changed, or the epoch
// began. Index rows about less than a table have a dot or a colon in their name,
// as in Consul.
func (r *Reader) LastIndex() uint64 {
	var last uint64
	for row := range Indexes.All(r) {
		if !strings.ContainsAny(row.Key, ".:") {
			last = max(last, row.Value)
		}
	}
	if row := epochRow(r); row != nil {
		last = max(last, row.ModifyIndex)
	}
	return last
}

func (r *Reader) watch(ch <-chan struct{}) {
	if r.watches != nil {
		r.watches.add(ch)
	}
}

// saw raises the index of what was read.
func (r *Reader) saw(index uint64) { r.index = max(r.index, index) }

// tableIndex is the raft index at which the table last changed. It is not
// watched: what was read of the table is.
func (r *Reader) tableIndex(name string) uint64 {
	row := must(r.txn.First(Indexes.name, primary, key(name)))
	if row == nil {
		return 0
	}
	return row.(*structs.IndexEntry).Value
}

// Writer changes the state, one command after another, in one transaction. It
// reads what it has written. Nobody else sees anything before Commit.
type Writer struct {
	Reader
	index   uint64   // raft index of the command at work
	journal []change // what the command at work has changed so far
	noted   string   // the table whose index row that command raised last

	fresh map[string]*structs.IndexEntry // index rows that nobody else sees yet, by table

	store    *Store
	metadata bool     // system metadata has changed
	changes  []Change // of keys, by the commands before the one at work
	expiring bool     // what is removed now has expired

	restored map[string]uint64 // highest index of the rows that Restore stored, by table
}

// change is one row that became another.
type change struct {
	table         string
	before, after any // nil where there was, or is, none
	expired       bool
}

// Write starts a transaction. There is one at a time: a second call waits for
// the first Writer's Commit or Abort.
func (s *Store) Write() *Writer {
	return &Writer{Reader: Reader{txn: s.db.Txn(true)}, store: s}
}

// Begin says that the next changes belong to the command at this raft index.
func (w *Writer) Begin(index uint64) {
	w.collect()
	w.index, w.noted = index, ""
	clear(w.journal)
	w.journal = w.journal[:0]
}

// Undo takes back every change since Begin.
func (w *Writer) Undo() {
	for _, c := range slices.Backward(w.journal) {
		if c.before != nil {
			w.insert(c.table, c.before)
		} else {
			w.delete(c.table, c.after)
		}
	}
	w.noted = ""
	clear(w.fresh) // others have taken their place
	clear(w.journal)
	w.journal = w.journal[:0]
}

// Commit makes the changes visible and wakes those who wait on them.
func (w *Writer) Commit() {
	w.collect()
	if !w.metadata {
		w.store.history.commit(w)
		return
	}
	epoch := epochOf(&w.Reader)
	w.store.history.commit(w)
	w.store.epoch.Store(epoch)
}

// Abort drops the transaction. After Commit it does nothing.
func (w *Writer) Abort() { w.txn.Abort() }

// changed notes that the command at work changed the table. Most commands of a
// transaction change the same one: a row that this transaction made is changed in
// its place, which no Reader can see.
func (w *Writer) changed(table string) {
	if w.noted == table { // a command may change thousands of rows
		return
	}
	w.noted = table
	if row := w.fresh[table]; row != nil {
		was := *row
		w.journal = append(w.journal, change{table: Indexes.name, before: &was, after: row})
		row.Value = w.index
		return
	}
	row := newIndexEntry(table, w.index)
	Indexes.put(w, row)
	if w.fresh == nil {
		w.fresh = map[string]*structs.IndexEntry{}
	}
	w.fresh[table] = row
}

func (w *Writer) insert(table string, row any) {
	w.metadata = w.metadata || table == Metadata.name
	if err := w.txn.Insert(table, row); err != nil {
		panic("state: " + err.Error())
	}
}

func (w *Writer) delete(table string, row any) {
	w.metadata = w.metadata || table == Metadata.name
	if err := w.txn.Delete(table, row); err != nil {
		panic("state: " + err.Error())
	}
}

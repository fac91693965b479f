package state_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"praetor/state"
	"praetor/structs"
)

// db is a store whose commands get one raft index after another.
type db struct {
	*state.Store
	t     testing.TB
	index uint64
}

func newDB(t testing.TB) *db { return &db{Store: state.New(), t: t} }

// kv applies one KV command at the next raft index, in a transaction of its own.
func (d *db) kv(op structs.KVOp, entry structs.DirEntry) bool {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	done, err := w.ApplyKV(&structs.KVSRequest{Op: op, DirEnt: entry})
	if err != nil {
		d.t.Fatalf("%s %q at %d: %v", op, entry.Key, d.index, err)
	}
	w.Commit()
	return done
}

func (d *db) set(key, value string) {
	d.t.Helper()
	d.kv(structs.KVSet, structs.DirEntry{Key: key, Value: []byte(value)})
}

func (d *db) delete(key string) {
	d.t.Helper()
	d.kv(structs.KVDelete, structs.DirEntry{Key: key})
}

func (d *db) deleteTree(prefix string) {
	d.t.Helper()
	d.kv(structs.KVDeleteTree, structs.DirEntry{Key: prefix})
}

// timed sets a key that has a TTL.
func (d *db) timed(key string) {
	d.t.Helper()
	d.kv(structs.KVSet, structs.DirEntry{Key: key, Value: []byte("v"), TTL: time.Minute})
}

func (d *db) expire(key string) {
	d.t.Helper()
	d.kv(structs.KVExpire, structs.DirEntry{Key: key, TTLIndex: d.Read().KeyTTL(key).Index})
}

// at sets the raft index of the next command.
func (d *db) at(index uint64) *db {
	d.index = index - 1
	return d
}

// reap forgets tombstones up to an index.
func (d *db) reap(upTo uint64) {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	if _, err := w.ApplyTombstone(&structs.TombstoneRequest{Op: structs.TombstoneReap, ReapIndex: upTo}); err != nil {
		d.t.Fatal(err)
	}
	w.Commit()
}

// get returns an entry and the index of the read.
func (d *db) get(key string) (*structs.DirEntry, uint64) {
	r := d.Read()
	return r.KV(key), r.Index()
}

// list returns the keys under a prefix and the index of the read.
func (d *db) list(prefix string) (string, uint64) {
	r := d.Read()
	var keys []string
	for _, e := range r.KVTree(prefix) {
		keys = append(keys, e.Key)
	}
	return strings.Join(keys, " "), r.Index()
}

// dump is everything that a snapshot would hold of the tables that have rows.
func dump(r *state.Reader) (keys []structs.DirEntry, tombs []structs.Tombstone, indexes []structs.IndexEntry) {
	for e := range state.KVs.All(r) {
		row := *e
		row.Value = slices.Clone(row.Value)
		keys = append(keys, row)
	}
	for t := range state.Tombstones.All(r) {
		tombs = append(tombs, *t)
	}
	for i := range state.Indexes.All(r) {
		indexes = append(indexes, *i)
	}
	return keys, tombs, indexes
}

// woken reports whether something that was read through r has changed by now.
// If nothing has, a second passes; in a bubble that is a virtual one.
func woken(r *state.Reader) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return r.Wait(ctx) == nil
}

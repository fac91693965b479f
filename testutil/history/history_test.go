package history_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"praetor/structs"
	"praetor/testutil/history"
)

// story is a history made by hand: clients that speak one after another, unless
// a call is begun and ended by itself.
type story struct {
	history.Recorder
	feeds []*history.Feed
}

func (s *story) did(client int, op history.Op, result history.Result) {
	s.Begin(client, op).Done(result)
}

func (s *story) put(key, value string) {
	s.did(1, history.Op{Kind: history.Put, Key: key, Value: value}, history.Result{})
}

func (s *story) del(key string) {
	s.did(1, history.Op{Kind: history.Delete, Key: key}, history.Result{})
}

func (s *story) cas(key, value string, index uint64, ok bool) {
	s.did(1, history.Op{Kind: history.CAS, Key: key, Value: value, Index: index}, history.Result{OK: ok})
}

// get is a read of one key that found the entry, or none if it has no index.
func (s *story) get(how history.Read, found history.Entry) {
	s.did(2, history.Op{Kind: history.Get, Key: found.Key, Read: how}, history.Result{Entries: some(found), Index: found.ModifyIndex})
}

// sees is a consistent get.
func (s *story) sees(key, value string, index uint64) {
	s.get(history.Consistent, at(key, value, index))
}

// asks is a stale get from one process of a server.
func (s *story) asks(server string, life uint64, key, value string, index uint64) {
	s.did(2, history.Op{Kind: history.Get, Key: key, Read: history.Stale, Server: server, Life: life},
		history.Result{Entries: some(at(key, value, index)), Index: index})
}

func (s *story) list(how history.Read, prefix string, index uint64, found ...history.Entry) {
	s.did(2, history.Op{Kind: history.List, Key: prefix, Read: how}, history.Result{Entries: found, Index: index})
}

func (s *story) txn(ok bool, steps []history.Step, found ...history.Entry) {
	s.did(3, history.Op{Kind: history.Txn, Steps: steps}, history.Result{OK: ok, Entries: found})
}

func (s *story) lock(kind history.Kind, session string, ok bool) {
	s.did(4, history.Op{Kind: kind, Key: "l", Data: "l/data", Session: session}, history.Result{OK: ok})
}

func (s *story) fenced(value string, fence uint64, ok bool) {
	s.did(4, history.Op{Kind: history.FencedPut, Key: "l", Data: "l/data", Value: value, LockIndex: fence}, history.Result{OK: ok})
}

func (s *story) holds(session string, fence uint64) {
	s.get(history.Consistent, history.Entry{Key: "l", Value: "any", ModifyIndex: 1, Session: session, LockIndex: fence})
}

// tells is what the i-th follower hears: of the prefix f/.
func (s *story) tells(i int, events ...structs.FeedEvent) {
	for len(s.feeds) <= i {
		s.feeds = append(s.feeds, s.Feed("follower", "f/"))
	}
	s.feeds[i].Take(events)
}

func at(key, value string, index uint64) history.Entry {
	return history.Entry{Key: key, Value: value, ModifyIndex: index}
}

func some(e history.Entry) []history.Entry {
	if e.Value == "" {
		return nil
	}
	return []history.Entry{e}
}

func row(key, value string, index uint64) *structs.DirEntry {
	return &structs.DirEntry{Key: key, Value: []byte(value), RaftIndex: structs.RaftIndex{ModifyIndex: index}}
}

func reset(index uint64) structs.FeedEvent {
	return structs.FeedEvent{Type: structs.FeedReset, Index: index}
}

func state(key, value string, index uint64) structs.FeedEvent {
	return structs.FeedEvent{Type: structs.FeedPut, Entry: row(key, value, index)}
}

func synced(index uint64) structs.FeedEvent {
	return structs.FeedEvent{Type: structs.FeedSynced, Index: index, At: structs.After(index)}
}

func told(key, value string, index uint64) structs.FeedEvent {
	return structs.FeedEvent{Type: structs.FeedPut, Index: index, At: structs.FeedPosition{Index: index}, Entry: row(key, value, index)}
}

func gone(key string, was, index uint64) structs.FeedEvent {
	return structs.FeedEvent{Type: structs.FeedDelete, Index: index, At: structs.FeedPosition{Index: index}, Entry: row(key, "", was)}
}

var (
	set = func(key, value string) history.Step { return history.Step{Verb: structs.KVSet, Key: key, Value: value} }
	get = func(key string) history.Step { return history.Step{Verb: structs.KVGet, Key: key} }
)

// Each way of breaking a promise is found by the check that is made for it, and
// what is like it and right is not.
func TestChecks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		want string // check that complains; "": none
		tell func(s *story)
	}{
		// Registers.
		{"all is well", "", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			s.cas("k", "b", 5, true)
			s.cas("k", "c", 5, false)
			s.sees("k", "b", 6)
			s.del("k")
			s.sees("k", "", 8)
			s.cas("k", "d", 0, true)
			s.did(1, history.Op{Kind: history.DeleteCAS, Key: "k", Index: 6}, history.Result{})
			s.sees("k", "d", 9)
		}},
		{"a write is lost", "linearizable", func(s *story) {
			s.put("k", "a")
			s.put("k", "b")
			s.sees("k", "a", 5)
		}},
		{"the first write is lost", "linearizable", func(s *story) {
			s.put("k", "a")
			s.sees("k", "", 3)
		}},
		{"a delete is lost", "linearizable", func(s *story) {
			s.put("k", "a")
			s.del("k")
			s.sees("k", "a", 5)
		}},
		{"a delete of another as it is", "linearizable", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			s.did(1, history.Op{Kind: history.DeleteCAS, Key: "k", Index: 4}, history.Result{OK: true})
		}},
		{"compare-and-set over a newer value", "linearizable", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			s.put("k", "b")
			s.cas("k", "c", 5, true)
			s.sees("k", "c", 7)
		}},
		{"two of them over one value", "linearizable", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			one, two := s.Begin(1, history.Op{Kind: history.CAS, Key: "k", Value: "b", Index: 5}), s.Begin(2, history.Op{Kind: history.CAS, Key: "k", Value: "c", Index: 5})
			one.Done(history.Result{OK: true})
			two.Done(history.Result{OK: true})
		}},
		{"create over a value", "linearizable", func(s *story) { s.put("k", "a"); s.cas("k", "b", 0, true) }},
		{"compare-and-set refused without a reason", "linearizable", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			s.cas("k", "b", 5, false)
		}},
		{"two readers disagree about the order", "linearizable", func(s *story) {
			s.put("k", "a")
			writing := s.Begin(1, history.Op{Kind: history.Put, Key: "k", Value: "b"})
			s.sees("k", "b", 6)
			s.sees("k", "a", 5)
			writing.Done(history.Result{})
		}},
		{"an unclear write takes effect late", "", func(s *story) {
			s.put("k", "a")
			s.Begin(1, history.Op{Kind: history.Put, Key: "k", Value: "b"}).Unknown()
			s.sees("k", "a", 5)
			s.sees("k", "b", 6)
		}},
		{"an unclear write, or none", "", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			s.Begin(1, history.Op{Kind: history.Put, Key: "k", Value: "b"}).Unknown()
			s.cas("k", "c", 5, false)
		}},
		{"an unclear write is undone", "linearizable", func(s *story) {
			s.put("k", "a")
			s.Begin(1, history.Op{Kind: history.Put, Key: "k", Value: "b"}).Unknown()
			s.sees("k", "b", 6)
			s.sees("k", "a", 5)
		}},
		{"a refused write is there", "values", func(s *story) {
			s.Begin(1, history.Op{Kind: history.Put, Key: "k", Value: "a"}).Failed()
			s.sees("k", "a", 5)
		}},
		{"a compare-and-set that was refused is there", "values", func(s *story) { s.cas("k", "a", 7, false); s.sees("k", "a", 5) }},
		{"a value of nobody", "values", func(s *story) { s.sees("k", "a", 5) }},
		{"a value before its write", "values", func(s *story) { s.get(history.Stale, at("k", "a", 5)); s.put("k", "a") }},
		{"a value at two indexes", "values", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			s.get(history.Stale, at("k", "a", 6))
		}},
		{"indexes against the clock", "order", func(s *story) {
			s.put("k", "a")
			s.put("j", "b")
			s.sees("k", "a", 6)
			s.sees("j", "b", 5)
		}},
		{"a restore takes the state back", "", func(s *story) {
			s.put("k", "a")
			s.sees("k", "a", 5)
			s.put("k", "b")
			s.did(0, history.Op{Kind: history.Restore, Entries: []history.Entry{at("k", "a", 5)}}, history.Result{})
			s.sees("k", "a", 5)
		}},
		{"a restore leaves a key", "linearizable", func(s *story) {
			s.put("k", "a")
			s.put("j", "b")
			s.did(0, history.Op{Kind: history.Restore, Entries: []history.Entry{at("k", "a", 5)}}, history.Result{})
			s.sees("j", "b", 6)
		}},

		// Lists and transactions.
		{"a list of all", "", func(s *story) {
			s.put("g/1", "a")
			s.put("g/2", "b")
			s.list(history.Consistent, "g/", 6, at("g/1", "a", 5), at("g/2", "b", 6))
		}},
		{"a list without the first", "linearizable", func(s *story) {
			s.put("g/1", "a")
			s.put("g/2", "b")
			s.list(history.Consistent, "g/", 6, at("g/2", "b", 6))
		}},
		{"a list of two times", "stale reads", func(s *story) {
			s.put("g/1", "a")
			s.put("g/2", "b")
			s.put("g/1", "c")
			s.list(history.Stale, "g/", 7, at("g/1", "c", 7))
		}},
		{"a list of an old time", "", func(s *story) {
			s.put("g/1", "a")
			s.put("g/2", "b")
			s.put("g/1", "c")
			s.list(history.Stale, "g/", 5, at("g/1", "a", 5))
		}},
		{"a list with another index than its own", "stale reads", func(s *story) {
			s.put("g/1", "a")
			s.put("g/2", "b")
			s.list(history.Consistent, "g/", 6, at("g/1", "a", 5), at("g/2", "b", 6))
			s.list(history.Stale, "g/", 6, at("g/1", "a", 5))
		}},
		{"all of a transaction", "", func(s *story) {
			s.put("g/1", "a")
			s.txn(true, []history.Step{get("g/1"), set("g/1", "b"), set("g/2", "c")}, at("g/1", "a", 5), at("g/1", "", 6), at("g/2", "", 6))
			s.list(history.Consistent, "g/", 6, at("g/1", "b", 6), at("g/2", "c", 6))
			s.txn(false, []history.Step{set("g/1", "d"), {Verb: structs.KVCheckNotExists, Key: "g/2"}})
			s.txn(false, []history.Step{set("g/1", "e"), {Verb: structs.KVCheckIndex, Key: "g/2", Index: 5}})
			s.txn(true, []history.Step{{Verb: structs.KVGetTree, Key: "g/"}}, at("g/1", "b", 6), at("g/2", "c", 6))
		}},
		{"half of a transaction", "linearizable", func(s *story) {
			s.put("g/1", "a")
			s.txn(true, []history.Step{set("g/1", "b"), set("g/2", "c")}, at("g/1", "", 6), at("g/2", "", 6))
			s.list(history.Consistent, "g/", 6, at("g/1", "a", 5), at("g/2", "c", 6))
		}},
		{"a transaction between two readers", "linearizable", func(s *story) {
			txn := s.Begin(3, history.Op{Kind: history.Txn, Steps: []history.Step{set("g/1", "b"), set("g/2", "c")}})
			s.sees("g/1", "b", 6)
			s.sees("g/2", "", 6)
			txn.Done(history.Result{OK: true, Entries: []history.Entry{at("g/1", "", 6), at("g/2", "", 6)}})
		}},
		{"a transaction at two indexes", "values", func(s *story) {
			s.txn(true, []history.Step{set("g/1", "b"), set("g/2", "c")}, at("g/1", "", 6), at("g/2", "", 7))
		}},
		{"a transaction that should have been refused", "linearizable", func(s *story) {
			s.put("g/1", "a")
			s.txn(true, []history.Step{{Verb: structs.KVCheckNotExists, Key: "g/1"}, set("g/2", "c")}, at("g/2", "", 6))
		}},
		{"a transaction that should not have been refused", "linearizable", func(s *story) {
			s.put("g/1", "a")
			s.txn(false, []history.Step{get("g/1"), set("g/2", "c")})
		}},
		{"what a refused transaction would have written", "values", func(s *story) {
			s.txn(false, []history.Step{set("g/1", "b"), get("g/2")})
			s.sees("g/1", "b", 5)
		}},
		{"a transaction that read something else", "linearizable", func(s *story) {
			s.put("g/1", "a")
			s.put("g/1", "b")
			s.txn(true, []history.Step{get("g/1"), set("g/2", "c")}, at("g/1", "a", 5), at("g/2", "", 7))
		}},

		// Default and stale reads.
		{"a default read a lease old", "", func(s *story) {
			s.put("k", "a")
			s.put("k", "b")
			time.Sleep(400 * time.Millisecond)
			s.get(history.Default, at("k", "a", 5))
		}},
		{"a default read that is older", "default reads", func(s *story) {
			s.put("k", "a")
			s.put("k", "b")
			time.Sleep(600 * time.Millisecond)
			s.get(history.Default, at("k", "a", 5))
		}},
		{"a stale read of any age", "", func(s *story) {
			s.put("k", "a")
			s.put("k", "b")
			time.Sleep(time.Hour)
			s.asks("one", 1, "k", "a", 5)
		}},
		{"a stale read of what never was", "stale reads", func(s *story) {
			s.put("g/1", "a")
			s.txn(true, []history.Step{set("g/1", "b"), set("g/2", "c")}, at("g/1", "", 6), at("g/2", "", 6))
			s.did(2, history.Op{Kind: history.Txn, Read: history.Stale, Steps: []history.Step{get("g/1"), get("g/2")}},
				history.Result{OK: true, Entries: []history.Entry{at("g/1", "a", 5), at("g/2", "c", 6)}})
		}},
		{"a server goes back", "stale reads", func(s *story) {
			s.put("k", "a")
			s.put("j", "b")
			s.put("k", "c")
			s.sees("k", "c", 7)
			s.asks("one", 1, "k", "c", 7)
			s.asks("one", 1, "j", "b", 6)
			s.asks("one", 1, "k", "a", 5)
		}},
		{"a server goes back on another key", "stale reads", func(s *story) {
			s.put("k", "a")
			s.put("k", "b")
			s.put("j", "c")
			s.sees("k", "b", 6)
			s.asks("one", 1, "j", "c", 7)
			s.asks("one", 1, "k", "a", 5)
		}},
		{"a server goes back to where a key was not", "stale reads", func(s *story) {
			s.put("k", "a")
			s.put("j", "b")
			s.asks("one", 1, "j", "b", 6)
			s.asks("one", 1, "k", "", 4)
		}},
		{"a server that was started again, and another one", "", func(s *story) {
			s.put("k", "a")
			s.put("k", "b")
			s.asks("one", 1, "k", "b", 6)
			s.asks("one", 2, "k", "a", 5)
			s.asks("two", 1, "k", "a", 5)
		}},
		{"an index goes back", "client index", func(s *story) {
			s.put("k", "a")
			for _, index := range []uint64{9, 8} {
				s.did(2, history.Op{Kind: history.List, Key: "k", Read: history.Consistent}, history.Result{Entries: []history.Entry{at("k", "a", 5)}, Index: index})
			}
		}},
		{"an index goes back in another epoch", "", func(s *story) {
			s.put("k", "a")
			for _, epoch := range []string{"one", "two"} {
				index := map[string]uint64{"one": 9, "two": 8}[epoch]
				s.did(2, history.Op{Kind: history.List, Key: "k", Read: history.Stale, Life: 1}, history.Result{Entries: []history.Entry{at("k", "a", 5)}, Index: index, Epoch: epoch})
			}
		}},
		{"a blocked query sleeps on", "blocking queries", func(s *story) { s.waits(2 * time.Second) }},
		{"a blocked query wakes", "", func(s *story) { s.waits(time.Millisecond) }},

		// Locks.
		{"a lock from hand to hand", "", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.holds("s1", 1)
			s.lock(history.Acquire, "s2", false)
			s.fenced("a", 1, true)
			s.lock(history.Release, "s1", true)
			s.fenced("b", 1, false)
			s.lock(history.Acquire, "s2", true)
			s.fenced("c", 1, false)
			s.fenced("d", 2, true)
			s.get(history.Consistent, at("l/data", "d", 9))
		}},
		{"a lock whose session has ended", "", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.fenced("a", 1, true)
			s.lock(history.Acquire, "s2", true)
			s.fenced("b", 1, false)
			s.did(4, history.Op{Kind: history.Acquire, Key: "l", Data: "l/data", Session: "s1"}, history.Result{NoSession: true})
		}},
		{"two holders", "locks", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.lock(history.Acquire, "s2", true)
			s.fenced("a", 1, true)
		}},
		{"a holder comes back", "locks", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.lock(history.Acquire, "s2", true)
			s.lock(history.Release, "s1", true)
		}},
		{"a session is alive after its lock was lost", "locks", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.lock(history.Acquire, "s2", true)
			s.lock(history.Renew, "s1", true)
		}},
		{"a lock is released twice", "locks", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.lock(history.Release, "s1", true)
			s.lock(history.Release, "s1", true)
		}},
		{"a write under a lock that was given back", "locks", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.lock(history.Release, "s1", true)
			s.fenced("a", 1, true)
		}},
		{"a fence that comes twice", "locks", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.lock(history.Release, "s1", true)
			s.lock(history.Acquire, "s2", true)
			s.holds("s2", 1)
		}},
		{"a lock of a session that was destroyed", "locks", func(s *story) {
			s.lock(history.Destroy, "s1", true)
			s.lock(history.Acquire, "s1", true)
		}},
		{"a free lock is refused", "locks", func(s *story) { s.lock(history.Acquire, "s1", false) }},
		{"a lock delay keeps others out", "", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.lock(history.Destroy, "s1", true)
			s.lock(history.Acquire, "s2", false)
		}},
		{"a write under a fence is lost", "locks", func(s *story) {
			s.lock(history.Acquire, "s1", true)
			s.fenced("a", 1, true)
			s.fenced("b", 1, true)
			s.get(history.Consistent, at("l/data", "a", 9))
		}},
		{"an unclear acquire worked", "", func(s *story) {
			s.Begin(4, history.Op{Kind: history.Acquire, Key: "l", Data: "l/data", Session: "s1"}).Unknown()
			s.lock(history.Acquire, "s2", false)
			s.holds("s1", 1)
		}},

		// Feeds.
		{"a feed tells all", "", func(s *story) {
			s.put("f/k", "a")
			s.tells(0, reset(5), state("f/k", "a", 5), synced(5))
			s.put("f/k", "b")
			s.del("f/k")
			s.tells(0, told("f/k", "b", 6))
			s.feeds[0].Connect("two", structs.FeedPosition{Index: 6})
			s.tells(0, gone("f/k", 6, 7))
			s.put("f/marker/0", "c")
			s.tells(0, told("f/marker/0", "c", 8), synced(8))
			s.tells(0, reset(9), state("f/marker/0", "c", 8), synced(9))
		}},
		{"a feed goes back", "feeds", func(s *story) {
			s.put("f/k", "a")
			s.put("f/k", "b")
			s.tells(0, reset(4), synced(4), told("f/k", "b", 6), told("f/k", "a", 5))
		}},
		{"a feed repeats itself after a break", "feeds", func(s *story) {
			s.put("f/k", "a")
			s.tells(0, reset(4), synced(4), told("f/k", "a", 5))
			s.feeds[0].Connect("two", structs.FeedPosition{Index: 5})
			s.tells(0, told("f/k", "a", 5))
		}},
		{"a feed leaves out what a reader has seen", "feeds", func(s *story) {
			s.tells(0, reset(4), synced(4))
			s.put("f/k", "a")
			s.sees("f/k", "a", 5)
			s.put("f/k", "b")
			s.tells(0, told("f/k", "b", 6), synced(6))
		}},
		{"a feed leaves out what another has told", "feeds", func(s *story) {
			s.put("f/k", "a")
			s.tells(0, reset(5), state("f/k", "a", 5), synced(5), gone("f/k", 5, 6), synced(7))
			s.tells(1, reset(5), state("f/k", "a", 5), synced(5), synced(7))
			s.del("f/k")
		}},
		{"a feed leaves out an acknowledged write", "feeds", func(s *story) {
			s.tells(0, reset(4), synced(4))
			s.put("f/k", "a")
			s.put("f/k", "b")
			s.put("f/marker/0", "c")
			s.tells(0, told("f/k", "b", 6), told("f/marker/0", "c", 7), synced(7))
		}},
		{"a feed leaves out an acknowledged delete", "feeds", func(s *story) {
			s.tells(0, reset(4), synced(4))
			s.put("f/k", "a")
			s.tells(0, told("f/k", "a", 5))
			s.del("f/k")
			s.put("f/marker/0", "c")
			s.sees("f/k", "", 6)
			s.tells(0, told("f/marker/0", "c", 7), synced(7))
		}},
		{"a feed tells of a write that was refused", "values", func(s *story) {
			s.Begin(1, history.Op{Kind: history.Put, Key: "f/k", Value: "a"}).Failed()
			s.tells(0, reset(4), synced(4), told("f/k", "a", 5))
		}},
		{"a feed begins with an old state", "feeds", func(s *story) {
			s.put("f/k", "a")
			s.put("f/k", "b")
			s.sees("f/k", "b", 6)
			s.tells(0, reset(6), state("f/k", "a", 5), synced(6))
		}},
		{"two feeds tell of one delete differently", "feeds", func(s *story) {
			s.put("f/k", "a")
			s.put("f/j", "b")
			s.tells(0, reset(6), state("f/j", "b", 6), state("f/k", "a", 5), synced(6), gone("f/k", 5, 7))
			s.tells(1, reset(6), state("f/j", "b", 6), state("f/k", "a", 5), synced(6), gone("f/j", 6, 7))
			s.Begin(1, history.Op{Kind: history.Delete, Key: "f/k"}).Unknown()
			s.Begin(1, history.Op{Kind: history.Delete, Key: "f/j"}).Unknown()
		}},
		{"a restore takes back a lock whose data was never written", "", func(s *story) {
			held := history.Entry{Key: "f/l", Value: "a", ModifyIndex: 5, LockIndex: 1, Session: "s"}
			s.did(4, history.Op{Kind: history.Acquire, Key: "f/l", Data: "f/l/data", Value: "a", Session: "s"}, history.Result{OK: true})
			s.sees("f/l/data", "", 0)
			s.did(0, history.Op{Kind: history.Restore, Entries: []history.Entry{held}}, history.Result{})
			s.put("f/k", "b")
			s.tells(0, reset(7), state("f/k", "b", 7), structs.FeedEvent{Type: structs.FeedPut, Entry: &structs.DirEntry{Key: "f/l", Value: []byte("a"),
				RaftIndex: structs.RaftIndex{ModifyIndex: 5}, LockIndex: 1, Session: "s"}}, synced(7))
		}},
		{"a feed tells of a delete of nothing", "feeds", func(s *story) { s.tells(0, reset(4), synced(4), gone("f/k", 3, 5)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var s story
				tt.tell(&s)
				var checks []string
				for _, v := range s.Verify(history.Promises{WakeWithin: time.Second}) {
					checks = append(checks, v.Check)
					t.Log(v)
				}
				if tt.want == "" && len(checks) > 0 || tt.want != "" && !slices.Contains(checks, tt.want) {
					t.Errorf("got complaints of %q, want %q", checks, tt.want)
				}
			})
		})
	}
}

// waits is a query that is blocked while the key changes, and answers so late.
func (s *story) waits(late time.Duration) {
	s.put("k", "a")
	s.sees("k", "a", 5)
	waiting := s.Begin(2, history.Op{Kind: history.Get, Key: "k", Read: history.Consistent, After: 5})
	time.Sleep(time.Second)
	s.put("k", "b")
	time.Sleep(late)
	waiting.Done(history.Result{Entries: some(at("k", "b", 6)), Index: 6})
}

// A report shows the calls that matter and not the hundreds around them.
func TestReportIsShort(t *testing.T) {
	t.Parallel()
	var s story
	index := uint64(10)
	write := func(value string) {
		s.put("k", value)
		index++
		s.sees("k", value, index)
	}
	for i := range 100 {
		write("v" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
	}
	write("old")
	was := index
	s.put("k", "new")
	s.sees("k", "old", was)
	for i := range 100 {
		write("w" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
	}
	found := s.Verify(history.Promises{})
	if len(found) != 1 {
		t.Fatalf("%d complaints, want 1", len(found))
	}
	text := found[0].String()
	t.Log(text)
	if lines := strings.Count(text, "\n"); lines > 6 || !strings.Contains(text, "put k=new") || !strings.Contains(text, "k=old@") {
		t.Errorf("the report has %d lines, want the write and the read that did not see it", lines)
	}
	page, err := found[0].WritePage()
	if err != nil || page == "" {
		t.Errorf("write a page: %q, %v", page, err)
	}
	if err := os.Remove(page); err != nil {
		t.Error(err)
	}
}

// A history as long as they may get, with as many open calls, is decided: one
// that is right, and one that is wrong at its end, where every way of placing
// the open calls has to be tried.
func TestLongHistoryIsDecided(t *testing.T) {
	t.Parallel()
	for _, wrong := range []bool{false, true} {
		var s story
		s.cas("k", "never", 7, false) // only calls that were refused make the open ones matter
		index := uint64(100)
		for i := range 100 {
			if i%17 == 0 {
				s.Begin(9, history.Op{Kind: history.Put, Key: "k", Value: fmt.Sprint("open", i)}).Unknown()
			}
			index++
			value := fmt.Sprint("v", i)
			s.put("k", value)
			if i%3 == 0 {
				s.sees("k", value, index)
			}
		}
		if wrong {
			s.sees("k", "v96", 197)
		}
		start := time.Now()
		found := s.Verify(history.Promises{})
		t.Logf("wrong: %v, decided in %v", wrong, time.Since(start))
		decided := slices.ContainsFunc(found, func(v history.Violation) bool { return strings.Contains(v.What, "explains") })
		if decided != wrong || !wrong && len(found) > 0 {
			t.Errorf("wrong: %v, got %v", wrong, found)
		}
	}
}

package rpcserver

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"praetor/state"
	"praetor/structs"
)

// Random changes leave the queue in order, and it forgets what nobody needs.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	begin := time.Unix(0, 0)
	q, want := newDeadlines(), map[string]time.Time{}
	for i := range 20000 {
		name := fmt.Sprint(random.IntN(500))
		switch random.IntN(4) {
		case 0:
			q.remove(name)
			delete(want, name)
		case 1, 2:
			at := begin.Add(time.Duration(i+random.IntN(300)) * time.Second)
			q.set(name, at, uint64(i))
			want[name] = at
		case 3:
			now := begin.Add(time.Duration(i) * time.Second)
			var last time.Time
			for _, item := range q.due(now, 10) {
				if at, known := want[item.name]; !known || !at.Equal(item.at) || at.After(now) || at.Before(last) {
					t.Fatalf("got %+v at %v, want %v", item, now, at)
				}
				last = item.at
				delete(want, item.name)
			}
			for name, at := range want {
				if at.Before(last) {
					t.Fatalf("%s was due at %v, before %v", name, at, last)
				}
			}
		}
		if len(q.items) != len(want) || len(q.order) != len(want) {
			t.Fatalf("%d items, %d in order, want %d", len(q.items), len(q.order), len(want))
		}
	}
	for i := range 10 * smallCrowd {
		q.set(fmt.Sprint("short-lived ", i), begin, 0)
		q.prune(func(*deadline) bool { return false })
	}
	if len(q.items) > smallCrowd {
		t.Errorf("%d items that nobody needs, want at most %d", len(q.items), smallCrowd)
	}
}

// A delay is never over early, and late by a step of the notes at most; the
// notes of the busiest hour are few.
func TestLockDelayNotes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var notes lockDelays
		store := state.New()
		random := rand.New(rand.NewPCG(1, 2))
		left := map[uint64]time.Time{}
		most := 0
		for index := uint64(1); index < 200_000; index++ {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			left[index] = time.Now()
			notes.note(store, index)
			most = max(most, len(notes.notes))
			if index%100 != 0 {
				continue
			}
			old := index - min(index-1, uint64(random.IntN(10_000)))
			delay := time.Duration(random.IntN(60_000)) * time.Millisecond
			over, age := notes.over(store, old, delay), time.Since(left[old])
			if over && age < delay || !over && age > delay+noteStep {
				t.Fatalf("%v after index %d a delay of %v is over: %v", age, old, delay, over)
			}
		}
		if limit := int(structs.MaxLockDelay/noteStep) + 2; most > limit {
			t.Errorf("%d notes, want at most %d", most, limit)
		}
		if notes.over(store, 200_000, time.Nanosecond) {
			t.Error("a delay that was not seen yet is over")
		}
		if notes.over(state.New(), 1, time.Nanosecond) {
			t.Error("the notes of another state count")
		}
		notes.forget()
		if notes.over(store, 1, time.Nanosecond) {
			t.Error("a server that does not lead says that a delay is over")
		}
	})
}

package state_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/state"
	"praetor/structs"
)

// tell is the changes that a cursor has to read, one a line.
func tell(t testing.TB, c *state.Cursor) string {
	t.Helper()
	var lines []string
	for done := false; !done; {
		var batch []state.Change
		var err error
		if batch, done, err = c.Read(nil); err != nil {
			lines = append(lines, err.Error())
			break
		}
		for _, change := range batch {
			e := change.Entry
			lines = append(lines, fmt.Sprintf("%v %s %s=%s %d,%d", change.At, change.Type, e.Key, e.Value, e.CreateIndex, e.ModifyIndex))
		}
	}
	return strings.Join(lines, "\n")
}

func follow(t testing.TB, s *state.Store, prefix, after string) *state.Cursor {
	t.Helper()
	at, err := structs.ParseFeedPosition(after)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Follow(prefix, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// What is told of each kind of change.
func TestChanges(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.set("a/1", "x")
	d.set("b/1", "x")
	d.set("a/1", "x") // changes nothing
	d.set("a/1", "y")
	d.kv(structs.KVCAS, structs.DirEntry{Key: "a/1", Value: []byte("z")}) // in vain
	d.set("a/2", "")
	d.delete("a/2")
	d.delete("a/2")
	w := d.Write()
	w.Begin(20)
	for _, c := range []structs.KVSRequest{
		{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "a/1", Value: []byte("1")}},
		{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "b/1", Value: []byte("1")}},
		{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "a/1", Value: []byte("2")}},
	} {
		if _, err := w.ApplyKV(&c); err != nil {
			t.Fatal(err)
		}
	}
	w.Begin(21)
	if _, err := w.ApplyKV(&structs.KVSRequest{Op: structs.KVDeleteTree}); err != nil {
		t.Fatal(err)
	}
	w.Undo()
	w.Begin(22)
	w.Commit()
	d.at(30).kv(structs.KVSet, structs.DirEntry{Key: "a/3", TTL: time.Second})
	d.kv(structs.KVSet, structs.DirEntry{Key: "a/3", TTL: time.Second}) // only the time begins anew
	d.kv(structs.KVExpire, structs.DirEntry{Key: "a/3", TTLIndex: 31})
	d.deleteTree("")

	want := []string{
		"1-0 put a/1=x 1,1",
		"4-0 put a/1=y 1,4",
		"6-0 put a/2= 6,6",
		"7-0 delete a/2= 6,6",
		"20-0 put a/1=1 1,20",
		"20-2 put a/1=2 1,20",
		"30-0 put a/3= 30,30",
		"32-0 expire a/3= 30,30",
		"33-0 delete a/1= 1,20",
	}
	for after, from := range map[string]int{
		"0": 0, "1": 1, "1-0": 1, "3": 1, "4": 2, "6-0": 3, "8": 4, "20-0": 5, "20-1": 5, "20-2": 6, "20": 6, "25": 6, "33-0": 9, "33": 9, "99": 9,
	} {
		if got := tell(t, follow(t, d.Store, "a/", after)); got != strings.Join(want[from:], "\n") {
			t.Errorf("after %s: got\n%s\nwant\n%s", after, got, strings.Join(want[from:], "\n"))
		}
	}
	if got, want := tell(t, follow(t, d.Store, "", "20")), strings.Join(append(slices.Clone(want[6:9]), "33-1 delete b/1= 2,20"), "\n"); got != want {
		t.Errorf("everything: got\n%s\nwant\n%s", got, want)
	}
	if got := d.Applied(); got != 33 {
		t.Errorf("applied %d, want 33", got)
	}
}

// A lock that comes and goes is a change like any other, whoever takes it away.
func TestChangesOfLocks(t *testing.T) {
	t.Parallel()
	for behavior, gone := range map[structs.SessionBehavior]string{
		structs.SessionRelease: "5-0 put a 1|5-1 put b 1",
		structs.SessionDelete:  "5-0 delete a 1 s|5-1 delete b 1 s",
	} {
		d := newDB(t)
		d.mustRegister(node("n"))
		d.index++
		w := d.Write()
		w.Begin(d.index)
		session := structs.Session{ID: "s", Node: "n", Behavior: behavior}
		if _, err := w.ApplySession(&structs.SessionRequest{Op: structs.SessionCreate, Session: session}); err != nil {
			t.Fatal(err)
		}
		w.Commit()
		for _, key := range []string{"a", "b"} {
			d.kv(structs.KVLock, structs.DirEntry{Key: key, Session: "s"})
		}
		d.deregister("n", "")
		batch, _, err := follow(t, d.Store, "", "2").Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, c := range batch {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%v %s %s %d %s", c.At, c.Type, c.Entry.Key, c.Entry.LockIndex, c.Entry.Session)))
		}
		if got, want := strings.Join(lines, "|"), "3-0 put a 1 s|4-0 put b 1 s|"+gone; got != want {
			t.Errorf("%s: got %s, want %s", behavior, got, want)
		}
	}
}

// Positions as clients write them.
func TestFeedPositions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"57": "57", "57-3": "57-3", "57-0": "57-0", "0": "0", "0-5": "0", "18446744073709551615": "18446744073709551615"} {
		at, err := structs.ParseFeedPosition(text)
		if err != nil || at.String() != want {
			t.Errorf("%s: got %v, %v, want %s", text, at, err, want)
		}
	}
	for _, text := range []string{"", "-", "57-", "-3", "57-3-1", "x", "57-4294967296", "99999999999999999999", " 57"} {
		if at, err := structs.ParseFeedPosition(text); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("%q: got %v, %v, want code Invalid", text, at, err)
		}
	}
	order := []string{"1-0", "1-1", "1", "2-0", "2-10", "2", "10-0"}
	for i, a := range order {
		for j, b := range order {
			p, _ := structs.ParseFeedPosition(a)
			q, _ := structs.ParseFeedPosition(b)
			if p.Less(q) != (i < j) {
				t.Errorf("%s before %s: got %v", a, b, p.Less(q))
			}
		}
	}
}

// The history is as long as its limit, and its newest change is always there.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.LimitHistory(3000)
	slow := follow(t, d.Store, "", "0")
	for i := range 100 {
		d.set("k", fmt.Sprint(i))
	}
	kept := 0
	for i := uint64(99); i > 0; i-- {
		c, err := d.Follow("k", structs.After(i))
		if err != nil {
			if !errors.Is(err, state.ErrForgotten) {
				t.Fatal(err)
			}
			break
		}
		kept++
		if got := strings.Count(tell(t, c), "put"); got != kept {
			t.Errorf("after %d: got %d changes, want %d", i, got, kept)
		}
		c.Close()
	}
	if kept < 10 || kept > 15 {
		t.Errorf("the history has %d changes, want some 15 in 3000 bytes", kept)
	}
	if got := tell(t, slow); got != state.ErrForgotten.Error() {
		t.Errorf("a slow reader: got %s, want %v", got, state.ErrForgotten)
	}
	d.set("large", strings.Repeat("x", 10_000))
	if got := tell(t, follow(t, d.Store, "large", "100")); !strings.HasPrefix(got, "101-0 put large=") {
		t.Errorf("a change larger than the limit is not there: %s", got)
	}
	d.LimitHistory(1 << 20)
	for i := range 5000 {
		d.set("k", fmt.Sprint(i))
	}
	d.LimitHistory(1)
	if got := tell(t, follow(t, d.Store, "k", fmt.Sprint(d.index-1))); !strings.Contains(got, "put k=4999") {
		t.Errorf("got %s, want the newest change", got)
	}
}

// A store that began with a snapshot knows nothing of what was before.
func TestHistoryBeginsWithSnapshot(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.BeginHistory(50)
	for _, after := range []string{"1", "49", "49-3", "50-3"} {
		at, _ := structs.ParseFeedPosition(after)
		if _, err := d.Follow("", at); !errors.Is(err, state.ErrReplaced) {
			t.Errorf("after %s: got %v, want %v", after, err, state.ErrReplaced)
		}
	}
	c := follow(t, d.Store, "", "50")
	ahead := follow(t, d.Store, "", "60-1")
	tell(t, ahead)
	tell(t, c)
	if !ahead.Ahead() || c.Ahead() {
		t.Errorf("ahead of a store at 50: behind 60-1 %v, behind 50 %v, want true and false", ahead.Ahead(), c.Ahead())
	}
	d.at(60).set("a", "1")
	d.set("a", "2")
	if got, want := tell(t, c), "60-0 put a=1 60,60\n61-0 put a=2 60,61"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := tell(t, ahead), "61-0 put a=2 60,61"; got != want {
		t.Errorf("ahead: got\n%s\nwant\n%s", got, want)
	}
	if ahead.Ahead() {
		t.Error("a store at 61 is not behind 60-1")
	}
}

// A change wakes those under whose prefix it is, and changes elsewhere cost the
// others nothing: not even their place in a history that has passed.
func TestCursorWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDB(t)
		d.LimitHistory(1000)
		d.set("a/1", "x")
		var mu sync.Mutex // guards by
		by := map[string]state.Woken{}
		woken := func() map[string]state.Woken {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(by)
		}
		wait := func(prefix string, tick time.Duration) *state.Cursor {
			_, c := d.Begin(prefix)
			if got := tell(t, c); got != "" {
				t.Errorf("%q: got %s, want nothing new", prefix, got)
			}
			go func() {
				woke := c.Wait(t.Context(), time.After(tick))
				mu.Lock()
				defer mu.Unlock()
				by[prefix] = woke
			}()
			synctest.Wait()
			return c
		}
		cursors := map[string]*state.Cursor{}
		for _, prefix := range []string{"", "a", "a/", "a/1", "a/1/", "a/2", "b", "ab"} {
			cursors[prefix] = wait(prefix, time.Hour)
			defer cursors[prefix].Close()
		}
		for i := range 100 {
			d.set("elsewhere", fmt.Sprint(i))
		}
		synctest.Wait()
		if diff := cmp.Diff(map[string]state.Woken{"": state.ByChange}, woken()); diff != "" {
			t.Errorf("woken by a write elsewhere (-want +got):\n%s", diff)
		}
		if got := tell(t, cursors[""]); got != state.ErrForgotten.Error() {
			t.Errorf("who slept too long got %s", got)
		}
		d.set("a/1", "y")
		synctest.Wait()
		all := map[string]state.Woken{"": state.ByChange, "a": state.ByChange, "a/": state.ByChange, "a/1": state.ByChange}
		if diff := cmp.Diff(all, woken()); diff != "" {
			t.Errorf("woken by a/1 (-want +got):\n%s", diff)
		}
		for _, prefix := range []string{"a", "a/", "a/1"} {
			if got, want := tell(t, cursors[prefix]), "102-0 put a/1=y 1,102"; got != want {
				t.Errorf("%q: got %s, want %s", prefix, got, want)
			}
		}
		// The time passes, and takes those who wait along.
		time.Sleep(2 * time.Hour)
		last := woken()
		for _, prefix := range []string{"a/1/", "a/2", "b", "ab"} {
			if last[prefix] != state.ByTime || cursors[prefix].At() != structs.After(102) {
				t.Errorf("%q: got %v at %v, want to be at 102 by time", prefix, last[prefix], cursors[prefix].At())
			}
			if got := cursors[prefix].Passed(); got < 1 {
				t.Errorf("%q: %v of the history has passed, want more than all", prefix, got)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := cursors["b"].Wait(ctx, nil); got != state.ByCaller {
			t.Errorf("got %v, want the end of the context", got)
		}
		d.Abandon()
		if got := cursors["b"].Wait(t.Context(), nil); got != state.ByAbandon {
			t.Errorf("got %v, want the end of the store", got)
		}
	})
}

// Nobody sees a change before the transaction is over, and all of it then.
func TestBeginIsBetweenTransactions(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.set("a", "1")
	w := d.Write()
	w.Begin(2)
	if _, err := w.ApplyKV(&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "a", Value: []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	view, c := d.Begin("")
	defer c.Close()
	if got := string(view.KV("a").Value); got != "1" || c.At() != structs.After(1) || tell(t, c) != "" {
		t.Errorf("got %s at %v, want 1 at 1", got, c.At())
	}
	w.Commit()
	w.Abort()
	if got, want := tell(t, c), "2-0 put a=2 1,2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w = d.Write()
	w.Begin(3)
	if _, err := w.ApplyKV(&structs.KVSRequest{Op: structs.KVDelete, DirEnt: structs.DirEntry{Key: "a"}}); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if got := tell(t, c); got != "" || d.Applied() != 2 {
		t.Errorf("got %s and applied %d of a transaction that was dropped", got, d.Applied())
	}
}

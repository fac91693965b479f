package history

import (
	"fmt"
	"slices"
	"strings"

	"praetor/structs"
)

// Feed is what one follower of a change feed was told, over all its
// connections: it goes on behind the last event that it has a position of.
type Feed struct {
	rec    *Recorder
	name   string
	prefix string
	events []feedEvent
}

// feedEvent is one event, or a connection that began.
type feedEvent struct {
	at     int64 // event of the recorder
	kind   structs.FeedEventType
	pos    structs.FeedPosition
	index  uint64
	entry  *Entry
	server string // of a connection
}

const feedConnect structs.FeedEventType = "connect"

// gone reports whether the event says that a key is gone.
func (e *feedEvent) gone() bool { return e.kind == structs.FeedDelete || e.kind == structs.FeedExpire }

// changes reports whether the event is a change, and not part of a state.
func (e *feedEvent) changes() bool { return e.entry != nil && e.pos != structs.FeedPosition{} }

// String is the event as people read it.
func (e *feedEvent) String() string {
	switch {
	case e.kind == feedConnect:
		return fmt.Sprintf("connects to %s after %v", e.server, e.pos)
	case e.entry != nil:
		return fmt.Sprintf("%s at %v: %s", e.kind, e.pos, show([]Entry{*e.entry}))
	}
	return fmt.Sprintf("%s at %v, index %d", e.kind, e.pos, e.index)
}

// before is the last that was told up to an event of the recorder, so much of
// it at most.
func (f *Feed) before(event int64, most int) []*feedEvent {
	var told []*feedEvent
	for i := range f.events {
		if e := &f.events[i]; e.at <= event {
			told = append(told, e)
		}
	}
	return told[max(0, len(told)-most):]
}

// Feed begins the record of a follower of all keys with a prefix.
func (r *Recorder) Feed(name, prefix string) *Feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &Feed{rec: r, name: name, prefix: prefix}
	r.feeds = append(r.feeds, f)
	return f
}

// Connect records that the follower asks a server for what comes behind a
// position; zero asks for the state.
func (f *Feed) Connect(server string, after structs.FeedPosition) {
	f.rec.mu.Lock()
	defer f.rec.mu.Unlock()
	f.events = append(f.events, feedEvent{at: f.rec.tick(), kind: feedConnect, pos: after, server: server})
}

// Take records what the follower was told. It keeps nothing of the events.
func (f *Feed) Take(events []structs.FeedEvent) {
	f.rec.mu.Lock()
	defer f.rec.mu.Unlock()
	at := f.rec.tick()
	for i := range events {
		e := &events[i]
		told := feedEvent{at: at, kind: e.Type, pos: e.At, index: e.Index}
		if e.Entry != nil {
			entry := EntryOf(e.Entry)
			told.entry = &entry
		}
		f.events = append(f.events, told)
	}
}

// stretch is what a follower was told from one reset to the next: the state at
// an index, then all changes up to another.
type stretch struct {
	feed     *Feed
	began    int64 // event at which the state was told
	from, to uint64
	told     map[structs.FeedPosition]*feedEvent
	values   map[named]bool // that were put, or in the state
}

// view is what a follower believes is stored, at an index.
type view struct {
	feed    *Feed
	at      int64
	index   uint64
	entries []Entry // in key order
}

// follower replays a feed and looks for what no feed may say.
type follower struct {
	*Feed
	keys      map[string]*Entry
	pos       structs.FeedPosition
	building  bool // between a reset and the first event behind the state
	current   *stretch
	stretches []*stretch
	views     []view
	wrong     func(format string, args ...any)
}

func (f *follower) replay() {
	for i := range f.events {
		f.event(&f.events[i])
	}
}

func (f *follower) event(e *feedEvent) {
	switch {
	case e.kind == feedConnect:
		if e.pos != f.pos && e.pos != (structs.FeedPosition{}) {
			f.wrong("the workload went on from %v, not %v", e.pos, f.pos)
		}
		if f.pos = e.pos; e.pos == (structs.FeedPosition{}) {
			f.current = nil
		}
		return
	case e.kind == structs.FeedReset:
		f.keys, f.pos, f.building = map[string]*Entry{}, structs.FeedPosition{}, true
		f.current = &stretch{feed: f.Feed, began: e.at, from: e.index, to: e.index,
			told: map[structs.FeedPosition]*feedEvent{}, values: map[named]bool{}}
		f.stretches = append(f.stretches, f.current)
		return
	case f.current == nil:
		f.wrong("%s at %v came before any state", e.kind, e.pos)
		return
	case e.pos == (structs.FeedPosition{}):
		if !f.building || e.kind != structs.FeedPut {
			f.wrong("%s without a position came behind %v", e.kind, f.pos)
		}
	case e.pos.Less(f.pos), e.entry != nil && e.pos == f.pos:
		f.wrong("%s at %v came behind %v", e.kind, e.pos, f.pos)
	case e.entry != nil && e.pos.Index <= f.current.from:
		f.wrong("a change at %v came behind the state at %d", e.pos, f.current.from)
	}
	if e.entry != nil {
		f.change(e)
	}
	if e.pos != (structs.FeedPosition{}) {
		f.pos, f.building = e.pos, false
		f.current.to = max(f.current.to, e.pos.Index)
		if !e.changes() || strings.HasPrefix(e.entry.Key, f.prefix+Marker) {
			f.look(e)
		}
	}
}

// Marker stands behind the prefix of a feed in keys of which each is written
// alone: when a change of one is told, all that was before has been.
const Marker = "marker/"

// change takes over a change, or a part of a state.
func (f *follower) change(e *feedEvent) {
	key := e.entry.Key
	before := f.keys[key]
	switch {
	case !strings.HasPrefix(key, f.prefix):
		f.wrong("told of %s", key)
	case e.gone() && before == nil:
		f.wrong("%s at %v of %s, which is not there", e.kind, e.pos, key)
	case e.gone() && before.ModifyIndex != e.entry.ModifyIndex:
		f.wrong("%s at %v of %s as of %d, which was last put at %d", e.kind, e.pos, key, e.entry.ModifyIndex, before.ModifyIndex)
	case e.kind == structs.FeedPut && e.changes() && e.entry.ModifyIndex != e.pos.Index:
		f.wrong("a put at %v of %s says that it was at %d", e.pos, key, e.entry.ModifyIndex)
	case e.kind == structs.FeedPut && !e.changes() && (before != nil || e.entry.ModifyIndex > f.current.from):
		f.wrong("the state at %d has %s of %d", f.current.from, key, e.entry.ModifyIndex)
	}
	if e.gone() {
		delete(f.keys, key)
	} else {
		f.keys[key] = e.entry
		f.current.values[named{key, e.entry.Value}] = true
	}
	if e.changes() {
		f.current.told[e.pos] = e
	}
}

// look notes what the follower believes now.
func (f *follower) look(e *feedEvent) {
	v := view{feed: f.Feed, at: e.at, index: e.pos.Index}
	for _, entry := range f.keys {
		v.entries = append(v.entries, *entry)
	}
	slices.SortFunc(v.entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	if n := len(f.views); n > 0 && f.views[n-1].index == v.index {
		f.views[n-1] = v // nothing new, or the rest of it
		return
	}
	f.views = append(f.views, v)
}

// String is the name of the follower and the prefix that it follows.
func (f *Feed) String() string { return fmt.Sprintf("%s of %q", f.name, f.prefix) }

package history

import (
	"fmt"
	"slices"
	"strings"

	"praetor/structs"
)

// checkFeeds replays every feed: in order, nothing twice, and no state that its
// own events do not lead to. Then it holds the feeds against each other and
// against the writes. What the followers believe at the end of it is checked
// with the keys: it must have been stored at that index.
func (f *facts) checkFeeds() (violations []Violation) {
	for _, feed := range f.history.feeds {
		found := 0
		replay := &follower{Feed: feed, keys: map[string]*Entry{}, wrong: func(format string, args ...any) {
			if found++; found <= 3 { // one leads to the next
				violations = append(violations, feed.violation(format, args...))
			}
		}}
		replay.replay()
		f.stretches = append(f.stretches, replay.stretches...)
		f.views = append(f.views, replay.views...)
	}
	violations = append(violations, f.compareFeeds()...)
	violations = append(violations, f.missedByFeeds()...)
	return violations
}

func (f *Feed) violation(format string, args ...any) Violation {
	return Violation{Check: "feeds", What: fmt.Sprintf("%s, under %q: ", f.name, f.prefix) + fmt.Sprintf(format, args...)}
}

// compareFeeds sees to it that all feeds tell the same changes at the same
// positions, as far as they reach.
func (f *facts) compareFeeds() (violations []Violation) {
	all := map[structs.FeedPosition]*feedEvent{}
	from := map[structs.FeedPosition]*Feed{}
	var order []structs.FeedPosition
	for _, s := range f.stretches {
		for pos, e := range s.told {
			if other := all[pos]; other == nil {
				all[pos], from[pos] = e, s.feed
				order = append(order, pos)
			} else if other.kind != e.kind || *other.entry != *e.entry {
				violations = append(violations, s.feed.violation("%s %s at %v, where %s was told %s %s",
					e.kind, show([]Entry{*e.entry}), pos, from[pos].name, other.kind, show([]Entry{*other.entry})))
			}
		}
	}
	slices.SortFunc(order, func(a, b structs.FeedPosition) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	for _, s := range f.stretches {
		for _, pos := range order {
			e := all[pos]
			if s.told[pos] == nil && pos.Index > s.from && s.covers(pos.Index) && strings.HasPrefix(e.entry.Key, s.feed.prefix) {
				violations = append(violations, s.feed.violation("nothing at %v, where %s was told %s %s", pos, from[pos].name, e.kind, show([]Entry{*e.entry})))
				break
			}
		}
	}
	return violations
}

// covers reports whether everything at an index was told: the last one may
// have been broken off in its middle.
func (s *stretch) covers(index uint64) bool { return index < s.to }

// missedByFeeds finds writes that were seen elsewhere, or acknowledged, and not
// told.
func (f *facts) missedByFeeds() (violations []Violation) {
	for _, s := range f.stretches {
		for _, n := range sortedNames(f.seen) {
			index := f.seen[n].index
			if strings.HasPrefix(n.key, s.feed.prefix) && index > s.from && s.covers(index) && !s.values[n] {
				violations = append(violations, s.feed.violation("went from %d to %d without %s=%s, written at %d", s.from, s.to, n.key, n.value, index))
				break
			}
		}
		violations = append(violations, f.missedBefore(s, s.marked(f.writers))...)
	}
	return violations
}

// marked is the last write of a marker that was told: nil if there is none.
func (s *stretch) marked(writers map[named]*Call) (last *Call) {
	for n := range s.values {
		if w := writers[n]; w != nil && strings.HasPrefix(n.key, s.feed.prefix+Marker) && w.call > s.began && (last == nil || w.call > last.call) {
			last = w
		}
	}
	return last
}

// missedBefore finds writes that were made while the feed ran, and acknowledged
// before a marker was written that it has told, and were not told.
func (f *facts) missedBefore(s *stretch, marker *Call) []Violation {
	if marker == nil {
		return nil
	}
	for _, c := range f.calls {
		if c.outcome != done || c.call < s.began || c.ret >= marker.call || c.conditional() && !c.result.OK {
			continue
		}
		for n := range c.op.written {
			if strings.HasPrefix(n.key, s.feed.prefix) && !s.values[n] && !c.op.undoes(n) {
				v := s.feed.violation("was never told of an acknowledged write, and of the marker behind it")
				v.calls = tellers(c, marker)
				return []Violation{v}
			}
		}
	}
	return nil
}

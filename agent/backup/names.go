package backup

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	snapPrefix   = "snap/"
	snapEnding   = ".snap"
	recordEnding = ".json"
)

// snapName is the name of a backup, without prefix and ending. In order of name
// is in order of raft index, then of time.
func snapName(index uint64, at time.Time) string {
	return fmt.Sprintf("%020d-%d", index, at.UnixMilli())
}

// parseSnapName undoes snapName.
func parseSnapName(name string) (index uint64, at time.Time, ok bool) {
	first, second, ok := strings.Cut(name, "-")
	if !ok || len(first) != 20 {
		return 0, at, false
	}
	index, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, at, false
	}
	ms, err := strconv.ParseInt(second, 10, 64)
	if err != nil || ms < 0 {
		return 0, at, false
	}
	return index, time.UnixMilli(ms), true
}

func snapPath(name string) string   { return snapPrefix + name + snapEnding }
func recordPath(name string) string { return snapPrefix + name + recordEnding }

// bareName is what a caller may mean by a name: with prefix and endings or without.
func bareName(name string) string {
	name = strings.TrimSuffix(path.Base(name), sealedEnding)
	return strings.TrimSuffix(strings.TrimSuffix(name, snapEnding), recordEnding)
}

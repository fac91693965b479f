package structs

import (
	"fmt"
	"time"
)

// LogArchiveStatus is how the archived log stands, as the leader sees it.
type LogArchiveStatus struct {
	Chain       string    `json:",omitempty"` // the run of segments that is being continued
	Index       uint64    // up to which the log is archived
	Time        time.Time `json:",omitzero"` // when that entry was written
	Behind      uint64    // entries that are not archived yet
	Success     time.Time `json:",omitzero"`  // when all there was was last archived
	Error       string    `json:",omitempty"` // of the last try, if it failed
	AwaitBackup bool      `json:",omitempty"` // nothing can be built from the chain until a backup is there
	Gaps        []LogGap  `json:",omitempty"` // the last few
}

// LogGap is a place where the archived log breaks off. The states between the
// last entry before it and the first backup behind it cannot be built again.
type LogGap struct {
	From, To    uint64 // indexes that are not archived; To < From: none, but what follows is another history
	Chain, Next string // that ended, and that began
	Reason      string
	Time        time.Time // when it was found
}

// String is one line for people.
func (g LogGap) String() string {
	if g.To < g.From {
		return fmt.Sprintf("after entry %d: %s", g.From-1, g.Reason)
	}
	return fmt.Sprintf("entries %d to %d: %s", g.From, g.To, g.Reason)
}

package rpcserver

import (
	"io"
	"os"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/structs"
)

// Method is a row of the table of methods, for tests that walk it.
type Method struct {
	Name        string
	Args, Reply func() any
}

// Methods returns the table of methods.
func Methods() (list []Method) {
	for _, m := range methods {
		list = append(list, Method{m.name, m.newArgs, m.newReply})
	}
	return list
}

// SameMethod reports whether both names stand for one method.
func SameMethod(a, b string) bool { return byName[a] != nil && byName[a] == byName[b] }

// Judge names the verdict that hashes give.
func Judge(ours structs.StateHash, others []structs.StateHash, servers int) string {
	return [...]string{undecided: "undecided", agreed: "agreed", wrong: "wrong", disputed: "disputed"}[judge(ours, others, servers)]
}

// Snapshots are a server's snapshots on disk.
type Snapshots struct{ *indexedSnapshots }

// OpenSnapshots opens those in a directory, as a server does.
func OpenSnapshots(dir string) (Snapshots, error) {
	store, err := raft.NewFileSnapshotStore(dir, snapshotsRetained, io.Discard)
	return Snapshots{&indexedSnapshots{SnapshotStore: store, dir: dir, owner: "a server", ready: new(readySnapshot)}}, err
}

// Upload is a snapshot on its way into raft.
type Upload struct{ *upload }

// Receive verifies and loads an archive, with its file in dir.
func Receive(dir string, archive io.Reader) (Upload, error) {
	u, err := receive(dir, archive, false)
	return Upload{u}, err
}

// File is where it is spooled.
func (u Upload) File() *os.File { return u.spooled.File }

// Loaded is what it was loaded into.
func (u Upload) Loaded() *fsm.Loaded { return u.loaded }

// Close closes it.
func (u Upload) Close() { u.close() }

// Linked reports whether a snapshot has taken the file of an upload.
func Linked(sink raft.SnapshotSink) bool { return sink.(*notedSink).linked }

// Withdraw forgets the state of the last upload.
func (s Snapshots) Withdraw() { s.ready.withdraw() }

// Bad is what was found to be wrong with a snapshot.
func (s Snapshots) Bad(id string) string { return s.damagedDirs()[id] }

// Paced returns a writer that rests. applied is the index of the last entry.
func Paced(w io.Writer, applied func() uint64) io.Writer {
	return &resting{Writer: w, applied: applied}
}

// What a test of pacing wants to know.
const (
	PaceBlock = paceBlock
	MaxRest   = maxRest
)

// EarlySync returns what syncs a file while it is written, after so many bytes.
func EarlySync(path string) (wrote func(int), syncing func() bool, end func() error) {
	e := &earlySync{sync: func() error { return syncFile(path) }}
	return e.wrote, func() bool { return e.done != nil }, e.end
}

// EarlySyncStep is after how many bytes it does.
const EarlySyncStep = earlySyncStep

// Package history records what concurrent clients asked of a cluster and what
// they were told, and looks for what no correct cluster could have told them.
//
// Every call is recorded with its begin and its end. A call whose outcome is
// unclear stays open: it may take effect at any time after its begin, or never.
// Recorder.Verify and Recorder.Check hold the whole record against what
// docs/reliability.md promises.
//
// What makes histories cheap to check is a rule for those who make them: no two
// writes of a key have the same value. So a value names its write, and whoever
// reads it tells at which raft index that was.
package history

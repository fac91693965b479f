// Package journal keeps the committed raft log beside the backups, so that a
// state between two of them can be built again.
//
// The leader's Archiver puts the log into the target in segments, a few seconds
// behind. Open reads what is there, Changes tells what was changed when, and
// Rebuild makes a snapshot of the state at a chosen moment: it loads the newest
// backup before it and applies the entries after that, as a server would.
//
// A run of segments without a gap is a chain. Its id stands in the cluster's
// state (a system metadata entry), and so in every backup: entries are applied
// only to a backup that has the chain's id. When the log breaks off, because a
// snapshot was restored into the cluster, because it was compacted before it
// could be archived, or because a new cluster was started from a backup, the
// leader starts a new chain with a new id, and has a backup taken for it to
// stand on. So a log is never applied to a state that it does not belong to,
// though indexes of two chains may be the same.
//
// Whatever is read is checked first. A damaged segment and a range of entries
// that is not there are named in the error, and nothing is built with them.
package journal

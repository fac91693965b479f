// Package recovery looks into the data directories of servers that do not run,
// and prepares the recovery of a cluster that has lost its quorum.
//
// Reading changes nothing: raft.db is opened read-only, and nothing is written
// to a raft-wal directory. The one thing that is ever written is peers.json
// (and peers.info, if it is missing), by Plan.Write.
package recovery

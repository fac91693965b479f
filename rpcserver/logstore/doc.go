// Package logstore keeps raft's log, term and vote on disk, in one of two
// libraries' formats, and notices when they are not what was written.
//
//	raft/raft.db   backend "boltdb": a raft-boltdb file
//	raft/wal/      backend "wal": a raft-wal directory
//	raft/record    what the log must hold, whichever of the two it is
//
// Neither library has checksums that last: bbolt has none but of its two meta
// pages, and raft-wal looks at its own only while it opens its newest segment,
// and takes what does not fit for a write that a crash has cut short. So every
// entry gets a seal (seal.go), and what a seal of one entry cannot tell is in the
// record (record.go): how many entries there must be, the term and the vote, and
// whose log it is.
//
// Open opens the log of a server that starts, Read one of a server that does not
// run, Renew puts an empty log in the place of a damaged one, and Convert makes
// one format of the other. Damage is an error with the code Corrupt that names
// the file; nothing is ever thrown away because of it.
package logstore

// Package structs owns the nouns of Praetor: records, requests and replies, the
// type byte of every command, the msgpack form they travel in, and coded errors.
//
// Field names and message numbers are the wire contract: they are the same in
// the raft log, in snapshots and over RPC, and they are Consul's, so that a
// Consul client can talk to us and a Consul snapshot can be read. A name is
// never changed and a number never reused. The package does no I/O.
package structs

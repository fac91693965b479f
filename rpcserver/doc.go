// Package rpcserver is one server of a Praetor cluster: raft and the state
// machine under it, serf gossip beside it, the leader's duties, and the RPC
// port on which all of that and its clients are served.
//
// The port tells protocols apart by the first byte of a connection (conn.go).
// What can be called is the table in methods.go. A method is either a write,
// which the leader checks, completes and puts in the log, or a read, which runs
// on an immutable view and can wait until what it read changes (blocking.go).
// Both find their way to the leader by themselves (route.go).
//
// Nothing is acknowledged before raft has it on the disks of a majority.
package rpcserver

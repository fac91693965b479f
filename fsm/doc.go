// Package fsm stands between the raft log and the state: it turns a log entry
// into a change of the tables, and the tables into a snapshot stream and back.
//
// It is deliberately thin. What a command does is in package state; which type
// byte means which command is the table in commands.go; which record of a
// snapshot holds which rows, and in what order, is the table in records.go.
//
// Applying is deterministic: nothing here reads a clock, a random source, the
// configuration, the network or the order of a map. An entry that cannot be
// understood stops the server, since going on would make it differ from the
// others without anybody noticing.
package fsm

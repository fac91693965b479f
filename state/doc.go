// Package state owns what Praetor knows: typed, indexed tables in memory, the
// changes that commands make to them, and the reads that clients wait on.
//
// All of it lives in one go-memdb database. A Writer applies commands one after
// another inside one transaction; a command that fails leaves no trace, and its
// neighbours in the transaction are not disturbed. A Reader is an immutable
// view: it remembers which rows were read, the index of what it saw, and can
// wait until any of it changes.
//
// Beside the tables, a store remembers the newest changes of keys, for those who
// follow them with a Cursor. No command reads that history and no snapshot has it.
//
// What a Writer does depends on the command and the tables alone. There is no
// clock here, no random number, no configuration and no map order: the same
// commands give the same state on every server.
package state

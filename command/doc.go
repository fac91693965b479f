// Package command is the command line: a thin layer that parses flags, calls a
// server's HTTP API or reads a file, and prints.
//
// The commands are the table in command.go. A command there is a function that
// fills in a verb: its operands, flags, help and what it does; verb.go does the
// rest in the same way for all of them.
//
// What scripts may rely on: data goes to stdout and all else to stderr; the
// exit code is 0 for done, 1 for an error, 2 where "nothing found" (members) or
// "what was run has failed" (lock) has a meaning of its own, 127 for an unknown
// command. Names, flags and output are Consul's where Consul has the command;
// -format=json is ours on every table.
package command

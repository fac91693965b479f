// Package config turns flags and files into one checked Runtime.
//
// It owns the names, defaults and limits of every configuration key, as one table (keys.go): a later feature flips a
// line there. The names and meanings are Consul's, so that an existing Consul server configuration starts Praetor.
//
// A value walks through three places:
//
//	bytes --Parse--> File: known keys, right types --merge--> Runtime --finish, validate--> Runtime the agent may trust
//
// Sources, weakest first: defaults, -dev, list-valued flags, files in flag order, other flags, -hcl fragments.
// Lists append, maps merge by key, anything else replaces what was there.
//
// What is promised: a key is either honoured, answered with one warning, or refused; it is never dropped in silence.
// A mistyped key, a wrong type and a contradiction are errors, each a sentence that names the key, its flag and its
// file, and all of them are reported at once. Secrets are never part of a message. The package reads files, the host
// name and the list of network interfaces, and touches neither clock nor network.
package config

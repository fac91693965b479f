// Package peers measures our servers beside Debian's etcd, in turn, on one machine in one run: `make bench-peers` prints
// the table "Beside etcd" of docs/performance.md.
//
// It is a module of its own, so that etcd's client and gRPC are no dependencies of ours. Both sides are loaded from
// this one process, with the Go client that is usual for each: net/http or ours, and etcd's own over gRPC. What the
// load costs is printed beside what the servers use, since it shares the cores with them.
//
// ROWS=put,get runs only those rows (see rows in peers_test.go), QUICK=1 one short round of each, PROFILE=dir writes a
// CPU profile of our servers under the load of each row into dir.
package peers

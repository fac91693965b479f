// Package bench measures Praetor against a floor: raft with raft-boltdb and an
// empty state machine, in the same run. Only ratios of one run mean anything.
// `make bench` prints the table of docs/performance.md.
package bench

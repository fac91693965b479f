// Package bench holds what the benches share: load, the CPU and memory of processes, and a floor: raft with raft-wal
// and an empty state machine, in the same run. Only ratios of one run mean anything. The benches themselves are its
// tests (`make bench` and its sisters print the tables of docs/performance.md) and package peers, beside etcd.
package bench

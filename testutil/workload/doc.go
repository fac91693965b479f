// Package workload makes histories: concurrent clients that do, from a seed,
// what users of a cluster do, and record what they were told. It asks through
// the Go client and knows nothing of how the servers run, so the same workload
// runs on clusters in virtual time and on real processes.
package workload

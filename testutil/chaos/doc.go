// Package chaos runs whole clusters in virtual time while everything goes wrong
// that can: servers crash, freeze and lose power, links break one way or both,
// are slow and lose packets, disks are slow, hang and fail, logs are so short
// that servers that lag behind are sent snapshots, servers come, leave, are
// thrown out and lose their vote, and snapshots are restored. Then all faults
// end, and the cluster must be whole again: see Run.
//
// A seed fixes the cluster and the whole schedule of faults. It does not fix
// which of two goroutines runs first, so a failure may need several runs of its
// seed to show again: docs/reliability.md.
package chaos

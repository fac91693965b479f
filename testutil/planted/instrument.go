package main

import "time"

// instrument is a part of the suite.
type instrument struct {
	name    string
	kind    string // in words for the table
	run     string // tests, as in go test -run
	in      []string
	env     []string
	timeout time.Duration // on a busy machine
	patient bool          // it is not killed when the first test fails: it has processes and networks to clean up

	proven  bool // it passes without a fault
	skipped bool // this machine does not allow it
}

// instruments are in order of cost. Those that ask for promises come before
// those that look at the very line, which find more and prove less.
var instruments = []instrument{
	{
		name: "crashes", kind: "log store stopped anywhere",
		in: []string{"./rpcserver/logstore"}, run: "^TestCrashAnywhere$|^TestLossIsNoticed$", timeout: 2 * time.Minute,
	},
	{
		name: "histories", kind: "histories",
		in: []string{"./testutil/workload"}, run: "^TestHistory", env: []string{"SEEDS=4"}, timeout: 3 * time.Minute,
	},
	{
		name: "corruption", kind: "damaged disks",
		in: []string{"./testutil/cluster"}, run: "^TestCorruption|^TestForeignFiles", timeout: 4 * time.Minute,
	},
	{
		name: "power", kind: "loss of power, real process", patient: true,
		in: []string{"./testutil/netns"}, run: "^TestPowerLossAfterASnapshot$", env: []string{"PRAETOR_CHAOS_RUNS=1"}, timeout: 4 * time.Minute,
	},
	{
		name: "stories", kind: "stories of clusters",
		in: []string{"./testutil/cluster"}, timeout: 8 * time.Minute,
	},
	{
		name: "chaos", kind: "chaos in virtual time",
		in: []string{"./testutil/chaos"}, run: "^TestChaos$", env: []string{"CHAOS_SEEDS=20"}, timeout: 6 * time.Minute,
	},
	{
		name: "units", kind: "tests of one package",
		in: []string{"./structs/...", "./state/...", "github.com/hashicorp/go-immutable-radix", "./fsm/...", "./rpcserver/...", "./agent/..."}, timeout: 10 * time.Minute,
	},
	{
		name: "processes", kind: "histories of real processes", patient: true,
		in: []string{"./testutil/netns"}, run: "^TestChaos$", env: []string{"PRAETOR_CHAOS_SEED=1", "PRAETOR_CHAOS_RUNS=1", "PRAETOR_CHAOS_LASTS=60s"},
		timeout: 6 * time.Minute,
	},
}

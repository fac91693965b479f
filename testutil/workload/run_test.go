package workload_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil/cluster"
	"praetor/testutil/history"
	"praetor/testutil/workload"
)

// A leader dies and comes back while clients work, and whatever they are told
// is what was promised.
func TestHistoryOfLeaderCrash(t *testing.T) {
	t.Parallel()
	var rec history.Recorder
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		config := workload.Config{Seed: 1, Servers: workload.OnCluster(c), Ops: 100}
		worked := make(chan struct{})
		go func() {
			defer close(worked)
			stats, err := workload.Run(context.Background(), config, &rec)
			if err != nil {
				t.Error(err)
			}
			t.Log(stats)
		}()
		time.Sleep(800 * time.Millisecond)
		leader := c.Leader()
		leader.Crash()
		time.Sleep(3 * time.Second)
		leader.Start()
		<-worked
		c.Agree()
	})
	start := time.Now()
	rec.Check(t, history.Promises{})
	all, open, refused := rec.Calls()
	t.Logf("%d calls, %d open, %d refused, checked in %v", all, open, refused, time.Since(start))
}

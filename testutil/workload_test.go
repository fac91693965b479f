package testutil_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/testutil"
	"praetor/testutil/history"
	"praetor/testutil/workload"
)

// The same workload on a real process, its feeds over HTTP.
func TestHistoryOfProcess(t *testing.T) {
	t.Parallel()
	p := testutil.NewProcess(t, "-bootstrap")
	p.Start()
	p.AwaitLeader()
	var rec history.Recorder
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stats, err := workload.Run(ctx, workload.Config{Seed: 1, Ops: 60, Pause: 2 * time.Millisecond, Wait: 100 * time.Millisecond, Servers: []workload.Server{{
		Name:    fmt.Sprintf("server-%d", p.RPC),
		Connect: func() (*client.Client, error) { return client.New(p.RPCAddr()) },
		Life:    func() uint64 { return uint64(p.PID()) },
		Follow:  workload.FollowHTTP("http://"+p.HTTPAddr(), nil),
	}}}, &rec)
	if err != nil {
		t.Error(err)
	}
	t.Log(stats)
	rec.Check(t, history.Promises{})
	counts := rec.Counts()
	for _, kind := range []string{"put", "txn", "fenced-put", "feed put", "feed delete", "feed synced"} {
		if counts[kind].OK == 0 {
			t.Errorf("no %s in the history", kind)
		}
	}
}

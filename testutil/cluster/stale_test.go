package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil/cluster"
)

// A server that has just started has the leader answer stale reads. It does not
// go on from its own state before that has come as far.
func TestStaleReadsGoOn(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		n := c.Followers()[0]
		n.Stop()
		for i := range 300 {
			if err := put(c.Leader(), "k", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		n.Config.Raft.AroundWrite = func(_ string, do func() error) error {
			time.Sleep(300 * time.Millisecond)
			return do()
		}
		isolate(c, n)
		n.Start()
		first := make(chan structs.IndexedDirEntries)
		go func() {
			got, err := read(context.Background(), n, "k", stale.options()) // waits for a leader
			if err != nil {
				t.Error(err)
			}
			first <- got
		}()
		time.Sleep(time.Second)
		c.Net.Heal()
		before := <-first
		if len(before.Entries) == 0 || string(before.Entries[0].Value) != "299" {
			t.Fatal("the leader has not answered the first read: this test no longer shows anything")
		}
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
			got, err := read(context.Background(), n, "k", stale.options())
			if err != nil {
				t.Fatal(err)
			}
			if got.Index < before.Index {
				t.Fatalf("%v later it shows index %d, after %d before", time.Since(began), got.Index, before.Index)
			}
			before = got
		}
		if err := put(n, "k", "new"); err != nil {
			t.Error(err)
		}
	})
}

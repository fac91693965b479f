package cluster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil/cluster"
)

func TestSmoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := cluster.New(t, 3)
		fmt.Println("leader after", time.Since(start))
		c.Put("a", "1")
		if got := c.Get("a"); got != "1" {
			t.Errorf("got %q, want 1", got)
		}
		c.Agree()
		c.Leader().Crash()
		crash := time.Now()
		c.Put("b", "2")
		fmt.Println("write after crash:", time.Since(crash))
		c.Agree()
	})
}

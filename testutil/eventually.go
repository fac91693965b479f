package testutil

import (
	"testing"
	"time"
)

// pollEvery is short beside any timeout of a cluster and long beside one poll.
const pollEvery = 10 * time.Millisecond

// Eventually waits until cond returns nil and fails the test with cond's last
// error if that takes longer than within, or at once if a Process of the test
// has died. Inside a synctest bubble the time is virtual. Call it from the
// test's own goroutine.
func Eventually(t testing.TB, within time.Duration, what string, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := cond()
		if err == nil {
			return
		}
		if death := deathIn(t); death != "" {
			t.Fatalf("%s: %v; %s", what, err, death)
		}
		if !time.Now().Before(deadline) {
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
		time.Sleep(pollEvery)
	}
}

package agent

import (
	"fmt"
	"testing"
	"time"
)

// The first interval is spent in quick attempts that count as one.
func TestRetryPauses(t *testing.T) {
	for interval, want := range map[time.Duration]string{
		30 * time.Second:      "[1s 2s 4s 8s 15s! 30s! 30s!]",
		10 * time.Millisecond: "[10ms! 10ms! 10ms! 10ms! 10ms! 10ms! 10ms!]",
		2 * time.Second:       "[1s 1s! 2s! 2s! 2s! 2s! 2s!]",
	} {
		p := retryPauses{interval: interval}
		var got []string
		for range 7 {
			pause, counts := p.next()
			mark := ""
			if counts {
				mark = "!"
			}
			got = append(got, fmt.Sprint(pause, mark))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("interval %v: got %v, want %s", interval, got, want)
		}
	}
}

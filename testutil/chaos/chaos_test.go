package chaos_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"praetor/testutil/chaos"
)

// number reads one from the environment.
func number(t *testing.T, name string, fallback int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s is %q, want a number", name, text)
	}
	return n
}

// TestChaos tries CHAOS_SEEDS seeds from CHAOS_SEED on, CHAOS_COUNT times each.
func TestChaos(t *testing.T) {
	t.Parallel()
	first, seeds, count := number(t, "CHAOS_SEED", 1), number(t, "CHAOS_SEEDS", 1), number(t, "CHAOS_COUNT", 1)
	for seed := first; seed < first+seeds; seed++ {
		for i := range count {
			t.Run(fmt.Sprintf("seed %d, run %d", seed, i+1), func(t *testing.T) {
				t.Parallel()
				// A panic in a server ends the process: what was begun and has not
				// ended, in what was printed, is then the seed to try again.
				fmt.Printf("seed %d begins\n", seed)
				start := time.Now()
				defer func() {
					fmt.Printf("seed %d ends after %.1fs, failed: %v\n", seed, time.Since(start).Seconds(), t.Failed())
				}()
				chaos.Run(t, uint64(seed))
			})
		}
	}
}

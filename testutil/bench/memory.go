package bench

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Resident is how much memory a process has resident, in bytes.
func Resident(tb testing.TB, pid int) int64 {
	tb.Helper()
	n := statusBytes(pid, "VmRSS:")
	if n == 0 {
		tb.Fatalf("the memory of process %d cannot be read", pid)
	}
	return n
}

// Peak is the most memory that a process had resident, in bytes; 0 if there is no such process.
func Peak(pid int) int64 { return statusBytes(pid, "VmHWM:") }

// ForgetPeak makes Peak speak of the time from now on.
func ForgetPeak(tb testing.TB, pid int) {
	tb.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		tb.Fatal(err)
	}
}

// Settle waits until the memory of an idle process no longer shrinks, a minute at most, and returns it in bytes: Go
// gives back in time what work has left.
func Settle(tb testing.TB, pid int) int64 {
	tb.Helper()
	before := Resident(tb, pid)
	for range 12 {
		time.Sleep(5 * time.Second)
		now := Resident(tb, pid)
		if now >= before-before/200 {
			return now
		}
		before = now
	}
	return before
}

func statusBytes(pid int, field string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), field)
	var kib int64
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}

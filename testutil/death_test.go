package testutil_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"praetor/testutil"
)

func startsIn(t *testing.T, probe testing.TB) *testutil.Process {
	t.Helper()
	testutil.Binary(t)
	p := testutil.NewProcess(probe)
	p.Dir = t.TempDir()
	p.Start()
	testutil.Eventually(t, 30*time.Second, "a server that runs", func() error {
		if !strings.Contains(p.Output(), "HTTP") {
			return errors.New(p.Output())
		}
		return nil
	})
	return p
}

// A server that dies fails what waits for it at once, with its last words.
func TestProcessDeathEndsTheTest(t *testing.T) {
	t.Parallel()
	probe := &failing{TB: t}
	p := startsIn(t, probe)
	if err := syscall.Kill(p.PID(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	func() {
		defer func() { recover() }()
		testutil.Eventually(probe, time.Minute, "the moon", func() error { return errors.New("not yet") })
	}()
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, want := range []string{"the moon: not yet; server on port ", "has died: exit status 2", "SIGABRT: abort"} {
		if !strings.Contains(probe.message, want) {
			t.Errorf("failed with %q, want %q in it", probe.message, want)
		}
	}
	probe.end()
	if !probe.failed {
		t.Error("the test succeeds that does not wait")
	}
	if n := strings.Count(probe.message, "\n"); n > 400 {
		t.Errorf("%d lines are shown", n)
	}
}

// Of a server that runs but does not answer, the goroutines are shown.
func TestProcessThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	probe := &failing{TB: t, failed: true}
	p := startsIn(t, probe)
	p.Signal(syscall.SIGSTOP)
	probe.end()
	for _, want := range []string{"running, but it does not answer", "[select] ", "command."} {
		if !strings.Contains(probe.message, want) {
			t.Errorf("said %q, want %q in it", probe.message, want)
		}
	}
	if n := strings.Count(probe.message, "\n"); n > 200 {
		t.Errorf("%d lines are shown", n)
	}
}

package testutil_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil"
)

func TestEventuallyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		testutil.Eventually(t, time.Minute, "half a minute to pass", func() error {
			if time.Since(start) < 30*time.Second {
				return errors.New("too early")
			}
			return nil
		})
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("returned after %v, want 30s", took)
		}
	})
}

func TestEventuallyFailsWithTheLastError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		probe := &failing{TB: t}
		start := time.Now()
		func() {
			defer func() { recover() }()
			testutil.Eventually(probe, time.Second, "the moon", func() error {
				return fmt.Errorf("still waiting after %v", time.Since(start))
			})
		}()
		if want := "the moon: not within 1s: still waiting after 1s"; probe.message != want {
			t.Errorf("failed with %q, want %q", probe.message, want)
		}
	})
}

// failing is a test that may fail without failing the real one.
type failing struct {
	testing.TB
	failed   bool
	message  string
	cleanups []func()
}

func (f *failing) Helper()          {}
func (f *failing) Name() string     { return fmt.Sprintf("a test of its own, %p", f) }
func (f *failing) Failed() bool     { return f.failed }
func (f *failing) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }

func (f *failing) Logf(format string, args ...any) { f.message += fmt.Sprintf(format, args...) }

func (f *failing) Errorf(format string, args ...any) {
	f.failed = true
	f.message += fmt.Sprintf(format, args...)
}

func (f *failing) Fatalf(format string, args ...any) {
	f.failed = true
	f.message = fmt.Sprintf(format, args...)
	panic(f.message)
}

func (f *failing) end() {
	for _, c := range slices.Backward(f.cleanups) {
		c()
	}
}

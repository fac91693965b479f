package testutil_test

import (
	"strings"
	"testing"

	"praetor/testutil"
)

func TestLoggerSpeaksOnlyOfFailures(t *testing.T) {
	t.Parallel()
	for _, failed := range []bool{false, true} {
		probe := &failing{TB: t, failed: failed}
		log := testutil.Logger(probe, "s1")
		log.Named("raft").Info("entering follower state", "term", 7)
		probe.end()
		log.Info("too late")
		if got := strings.Contains(probe.message, "s1.raft: entering follower state: term=7"); got != failed {
			t.Errorf("test failed %v, log printed %v: %q", failed, got, probe.message)
		}
		if strings.Contains(probe.message, "too late") {
			t.Errorf("printed a line from after the test: %q", probe.message)
		}
	}
}

func TestLoggerKeepsTheEnd(t *testing.T) {
	t.Parallel()
	probe := &failing{TB: t, failed: true}
	log := testutil.Logger(probe, "s1")
	for i := range 20_000 {
		log.Debug("line", "n", i)
	}
	probe.end()
	if !strings.Contains(probe.message, "n=19999\n") {
		t.Error("the last line is missing")
	}
	if len(probe.message) > 1<<20+100 {
		t.Errorf("kept %d bytes, want about 1 MiB at most", len(probe.message))
	}
}

package command

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const commandProcess = "PRAETOR_TEST_COMMAND_PROCESS"

// testTiming is short, with a margin for machines that have much else to do.
var testTiming = lockTimes{ttl: 1500 * time.Millisecond, grace: 400 * time.Millisecond, margin: 300 * time.Millisecond, retry: 50 * time.Millisecond}

// TestCommandProcess is no test but the process that the tests below start.
func TestCommandProcess(t *testing.T) {
	if os.Getenv(commandProcess) == "" {
		t.Skip("for the tests below")
	}
	lockTiming, watchRetry, feedSilence = testTiming, 20*time.Millisecond, 300*time.Millisecond
	os.Unsetenv("SHELL")
	os.Exit(Run(flag.Args(), os.Stdin, os.Stdout, os.Stderr))
}

// commandLine is a command in a process of its own.
type commandLine struct {
	*exec.Cmd
	stdout, stderr strings.Builder
}

func startLock(t *testing.T, s *lockServer, args ...string) *commandLine {
	t.Helper()
	return startCommand(t, s.URL, append([]string{"lock"}, args...)...)
}

func startCommand(t *testing.T, addr string, args ...string) *commandLine {
	t.Helper()
	l := &commandLine{Cmd: exec.Command(os.Args[0], append([]string{"-test.run=^TestCommandProcess$", "--"}, args...)...)}
	l.Env = append(os.Environ(), commandProcess+"=yes", "PRAETOR_HTTP_ADDR="+addr)
	l.Stdout, l.Stderr, l.WaitDelay = &l.stdout, &l.stderr, 5*time.Second
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Process.Kill()
		_ = l.Wait()
		if t.Failed() {
			t.Logf("%q: %s%s", args, &l.stdout, &l.stderr)
		}
	})
	return l
}

// ends waits for the process and checks its exit code and what it said.
func (l *commandLine) ends(t *testing.T, code int, parts ...string) {
	t.Helper()
	_ = l.Wait()
	if got := l.ProcessState.ExitCode(); got != code {
		t.Errorf("got exit code %d, want %d", got, code)
	}
	for _, part := range parts {
		if !strings.Contains(l.stdout.String()+l.stderr.String(), part) {
			t.Errorf("it did not say %q", part)
		}
	}
}

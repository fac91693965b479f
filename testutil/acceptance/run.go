package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is for one area. The longest takes less than a minute where all is well.
const patience = 6 * time.Minute

// run runs tests of the suite, side by side where they allow it, and keeps their whole output in a file. The error is
// about what keeps tests from being run; what they find is in the results.
func (w *workshop) run(ctx context.Context, s *suite, tests []string, parallel int, logFile string) (map[string]*result, error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	cmd := exec.CommandContext(ctx, "go", "tool", "test2json", "-p", clientPackage, "-t",
		w.bin("api.test"), "-test.v=test2json", "-test.paniconexit0", "-test.timeout="+patience.String(),
		"-test.parallel="+strconv.Itoa(parallel), "-test.run=^("+strings.Join(tests, "|")+")$")
	cmd.Dir, cmd.Env, cmd.Stderr = s.dir, w.environment(), log
	// A process group of their own: servers that a test has not stopped are ended with it, and ^C does not end them one by one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	results, err := readEvents(events, log)
	if err != nil {
		io.Copy(io.Discard, events)
	}
	var exit *exec.ExitError
	if waited := cmd.Wait(); err == nil && !errors.As(waited, &exit) { // failed tests exit with 1
		err = waited
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return results, errors.Join(err, ctx.Err())
}

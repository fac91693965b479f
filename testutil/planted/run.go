package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// finding is the first thing that went wrong.
type finding struct {
	test  string
	said  string        // the first line that the test has printed of it
	after time.Duration // with the time to compile, and that of the instruments that found nothing
}

// errSkipped says that this machine does not allow the tests.
var errSkipped = errors.New("skipped")

// event is a line of go test -json.
type event struct{ Action, Package, Test, Output string }

// prove runs an instrument without a fault, before it is used for the first
// time: it must pass.
func (i *instrument) prove(ctx context.Context, root, temp string) error {
	if i.proven || i.skipped {
		return nil
	}
	began := time.Now()
	found, err := i.try(ctx, root, temp, "")
	switch {
	case errors.Is(err, errSkipped):
		i.skipped = true
		fmt.Printf("%s: %v\n", i.name, err)
		return nil
	case err != nil:
		return fmt.Errorf("%s, without a fault: %w", i.name, err)
	case found != nil:
		return fmt.Errorf("%s fails without a fault: %s: %s", i.name, found.test, found.said)
	}
	i.proven = true
	fmt.Printf("%s: passed without a fault in %.0f s\n", i.name, time.Since(began).Seconds())
	return nil
}

// try runs an instrument, with the sources that overlay names if there is one.
// It returns nil if all tests pass.
func (i *instrument) try(ctx context.Context, root, temp, overlay string) (*finding, error) {
	args := []string{"test", "-json", "-count=1", "-failfast", "-vet=off", "-timeout", i.timeout.String()}
	if i.run != "" {
		args = append(args, "-run", i.run)
	}
	cmd := exec.Command("go", append(args, i.in...)...)
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "TMPDIR="+temp), i.env...)
	if overlay != "" {
		cmd.Env = append(cmd.Env, strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)) // for what tests build, too
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and what it has started
	defer context.AfterFunc(ctx, kill)()
	l := listener{}
	found, notBuilt := l.listen(out)
	if found != nil && !i.patient {
		kill()
	}
	_, _ = io.Copy(io.Discard, out)
	failed := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case notBuilt != "":
		return nil, fmt.Errorf("it does not compile:\n%s", notBuilt)
	case found == nil && failed != nil:
		return nil, fmt.Errorf("go test says %w, and names no test\n%s", failed, complaints.String())
	case found == nil && !l.passed && l.skipped != "":
		return nil, fmt.Errorf("%w: %s", errSkipped, l.said(l.skipped))
	case found == nil && !l.passed:
		return nil, errors.New("no test ran")
	}
	return found, nil
}

// listener makes sense of what go test -json says.
type listener struct {
	passed  bool                // some test
	skipped string              // the last test that was
	last    string              // test that began
	output  map[string][]string // by test
}

// listen reads until the first failure. notBuilt is what the compiler says if it
// was not content.
func (l *listener) listen(out io.Reader) (found *finding, notBuilt string) {
	l.output = map[string][]string{}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, notBuilt
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		switch {
		case e.Action == "build-output":
			notBuilt += e.Output
		case e.Action == "output":
			l.output[e.Test] = append(l.output[e.Test], e.Output)
		case e.Action == "run":
			l.last = e.Test
		case e.Action == "skip" && e.Test != "":
			l.skipped = e.Test
		case e.Action == "pass" && e.Test != "":
			l.passed = true
			delete(l.output, e.Test)
		case e.Action == "fail" && notBuilt == "":
			return &finding{test: l.blame(e), said: l.said(e.Test)}, ""
		}
	}
}

// blame names the test that failed. When the whole process fails, for a panic
// outside of the test's own goroutine, that is the one that began last.
func (l *listener) blame(e event) string {
	if e.Test != "" {
		return e.Test
	}
	if l.last != "" {
		return l.last
	}
	return e.Package
}

// said is what the test has said, without what belongs to it in further lines,
// or why the process ended.
func (l *listener) said(test string) string {
	for _, name := range []string{"", l.last} { // a panic may be noted down anywhere
		for _, line := range l.output[name] {
			if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
				return strings.TrimSpace(line)
			}
		}
	}
	var said []string
	for _, line := range l.output[test] {
		if m := message.FindStringSubmatch(line); m != nil {
			said = append(said, strings.TrimSpace(m[1]))
		}
	}
	return strings.Join(said, "\n")
}

// message is what a test says, behind the place where it does.
var message = regexp.MustCompile(`^ +[a-z_]+\.go:[0-9]+: (.{1,250})`)

package command

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
)

// job is a program and all that it starts: a process group.
type job struct {
	*exec.Cmd
	done chan struct{} // closed when the program itself has ended
	err  error         // then: how
}

func startJob(cmd *exec.Cmd) (*job, error) {
	j := &job{Cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithUs(cmd.SysProcAttr)
	if tty, ok := cmd.Stdin.(*os.File); ok && isatty.IsTerminal(tty.Fd()) {
		// In the background it would be stopped at the first byte it reads.
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, int(tty.Fd())
	}
	cmd.WaitDelay = time.Second // for output that a process left behind holds open
	started := make(chan error)
	go func() {
		defer close(j.done)
		runtime.LockOSThread() // see endWithUs
		err := cmd.Start()
		started <- err
		if err == nil {
			j.err = cmd.Wait()
		}
	}()
	return j, <-started
}

// failed says that the program ended badly.
func (j *job) failed() bool { return j.ProcessState == nil || !j.ProcessState.Success() }

// signal sends s to all of the group; false if nobody is left there.
func (j *job) signal(s syscall.Signal) bool { return syscall.Kill(-j.Process.Pid, s) == nil }

// stop asks the group to end, and kills what is left of it when time is up. It
// returns when nothing is left.
func (j *job) stop(killBy time.Time) {
	j.signal(syscall.SIGTERM)
	j.signal(syscall.SIGCONT) // one that is stopped would not hear it
	const look = 10 * time.Millisecond
	for time.Now().Before(killBy) {
		if !j.signal(0) {
			<-j.done
			return
		}
		time.Sleep(min(look, time.Until(killBy)))
	}
	j.signal(syscall.SIGKILL)
	<-j.done
	// What it started is ours to wait for as long as the system needs to end it,
	// not for ever: in a container without an init, zombies stay in the group.
	for range 100 {
		if !j.signal(0) {
			return
		}
		time.Sleep(look)
	}
}

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
	end  time.Time     // once stopped: when nothing was left of it, or it was killed
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
			_ = cmd.Wait() // ProcessState has it
		}
	}()
	return j, <-started
}

// failed says that the program ended badly.
func (j *job) failed() bool { return j.ProcessState == nil || !j.ProcessState.Success() }

// signal sends s to all of the group.
func (j *job) signal(s syscall.Signal) { _ = syscall.Kill(-j.Process.Pid, s) }

// stop asks the group to end, and kills what is left of it when time is up. It
// says whether that worked: what runs as another user is not ours to kill.
func (j *job) stop(killBy time.Time) bool {
	j.signal(syscall.SIGTERM)
	j.signal(syscall.SIGCONT) // one that is stopped would not hear it
	gone := j.await(killBy)
	j.end = time.Now()
	if gone {
		return true
	}
	if syscall.Kill(-j.Process.Pid, syscall.SIGKILL) == syscall.EPERM {
		return false
	}
	select {
	case <-j.done:
		// It is killed, and the kernel needs a moment. In a container without an
		// init the group may keep zombies for ever.
		j.await(time.Now().Add(100 * time.Millisecond))
		return true
	case <-time.After(time.Second):
		return false
	}
}

// await waits until nothing of the group is left; false if something is when
// time is up.
func (j *job) await(until time.Time) bool {
	for time.Now().Before(until) {
		select {
		case <-j.done:
			if syscall.Kill(-j.Process.Pid, 0) == syscall.ESRCH {
				return true
			}
		default:
		}
		time.Sleep(min(10*time.Millisecond, time.Until(until)))
	}
	return false
}

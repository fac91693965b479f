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

// signal sends s to all of the group.
func (j *job) signal(s syscall.Signal) { _ = syscall.Kill(-j.Process.Pid, s) }

// stop asks the group to end, and kills what is left of it when time is up. It
// says whether that worked: what runs as another user is not ours to kill.
func (j *job) stop(killBy time.Time) bool {
	j.signal(syscall.SIGTERM)
	j.signal(syscall.SIGCONT) // one that is stopped would not hear it
	if j.await(killBy) == nil {
		return true
	}
	j.signal(syscall.SIGKILL)
	err := j.await(time.Now().Add(time.Second))
	select {
	case <-j.done:
		// In a container without an init the group may keep zombies for ever.
		return err != syscall.EPERM
	default:
		return false
	}
}

// await waits until nothing of the group is left, and returns nil; or else the
// answer to a signal to it when time is up.
func (j *job) await(until time.Time) (left error) {
	left = syscall.EAGAIN
	for time.Now().Before(until) {
		select {
		case <-j.done:
			switch err := syscall.Kill(-j.Process.Pid, 0); err {
			case syscall.ESRCH:
				return nil
			case syscall.EPERM:
				left = err
			}
		default:
		}
		time.Sleep(min(10*time.Millisecond, time.Until(until)))
	}
	return left
}

package testutil

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"praetor/rpcserver/client"
)

// binary is built once for all tests of a process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "praetor-binary-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "praetor")
	_, here, _, _ := runtime.Caller(0)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".")
	build.Dir = filepath.Dir(filepath.Dir(here))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build praetor: %w\n%s", err, out)
	}
	return path, nil
})

// Binary builds the praetor binary, once, and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Process is a server running as a process of its own. If it ends though
// nobody has stopped it, its test fails: at once where the test waits with
// Eventually, else when the test ends.
type Process struct {
	t    testing.TB
	args []string
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
	fate fate

	Dir             string // data directory
	RPC, Serf, HTTP int    // ports on 127.0.0.1
}

// NewProcess prepares a server on free ports of 127.0.0.1 with a data directory
// of its own; args are added to its command line. It is killed when the test
// ends, and if the test failed, its state and the end of its output are shown.
func NewProcess(t testing.TB, args ...string) *Process {
	t.Helper()
	ports := FreePorts(t, 3)
	p := &Process{t: t, args: args, Dir: filepath.Join(t.TempDir(), "data"), RPC: ports[0], Serf: ports[1], HTTP: ports[2], out: &output{}}
	watched.Store(p, true)
	t.Cleanup(p.end)
	t.Cleanup(p.checkState)
	return p
}

// checkState fails the test if the server has found its state to differ from
// that of the others.
func (p *Process) checkState() {
	for _, alarm := range []string{"it goes into quarantine", "servers have different states"} {
		if strings.Contains(p.Output(), alarm) {
			p.t.Errorf("the state of the server on port %d was not that of the others: %s", p.RPC, alarm)
		}
	}
}

// Start starts the server.
func (p *Process) Start() {
	p.t.Helper()
	args := append([]string{"agent", "-server", "-bind=127.0.0.1", "-data-dir=" + p.Dir, fmt.Sprintf("-node=server-%d", p.RPC),
		"-hcl", `verify_state = true, verify_state_interval = "2s"`,
		fmt.Sprintf("-server-port=%d", p.RPC), fmt.Sprintf("-serf-lan-port=%d", p.Serf), fmt.Sprintf("-http-port=%d", p.HTTP)}, p.args...)
	p.cmd = exec.Command(Binary(p.t), args...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan struct{})
	p.fate.started(len(p.Output()))
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		p.fate.ended(cmd.ProcessState.String(), p.Output())
		close(done)
	}(p.cmd, p.done)
}

// Join is the -retry-join argument that leads to this server.
func (p *Process) Join() string { return fmt.Sprintf("-retry-join=127.0.0.1:%d", p.Serf) }

// RPCAddr is host:port of the RPC port.
func (p *Process) RPCAddr() string { return fmt.Sprintf("127.0.0.1:%d", p.RPC) }

// HTTPAddr is host:port of the HTTP API.
func (p *Process) HTTPAddr() string { return fmt.Sprintf("127.0.0.1:%d", p.HTTP) }

// Signal sends a signal to the server. One that stops and continues it is no
// reason for it to end, any other is.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if s != syscall.SIGSTOP && s != syscall.SIGCONT {
		p.fate.expect()
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Kill is kill -9, and waits until the process is gone.
func (p *Process) Kill() {
	if p.cmd != nil {
		p.fate.expect()
		p.cmd.Process.Signal(syscall.SIGKILL)
		<-p.done
	}
}

// Exit waits until the server has stopped and returns its exit code. It may
// have stopped by itself.
func (p *Process) Exit(within time.Duration) int {
	p.t.Helper()
	p.fate.expect()
	select {
	case <-p.done:
		p.fate.forgive()
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		p.t.Fatalf("server on port %d still runs after %v", p.RPC, within)
		return 0
	}
}

// Output is what the server has printed so far.
func (p *Process) Output() string { return p.out.String() }

// Client returns a client of this server.
func (p *Process) Client() *client.Client {
	p.t.Helper()
	c, err := client.New(p.RPCAddr())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// AwaitLeader waits until the server answers reads, that is, knows a leader.
func (p *Process) AwaitLeader() {
	p.t.Helper()
	c := p.Client()
	Eventually(p.t, 30*time.Second, "a leader", func() error {
		_, _, err := c.KV().Get(context.Background(), "any", nil)
		return err
	})
}

// Run runs the binary with arguments and returns what it printed and its exit code.
func Run(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(Binary(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// FreePorts are ports of 127.0.0.1 that nobody listened on just now.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write takes what the process prints.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is all of it.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// PID is the process id of the running server.
func (p *Process) PID() int { return p.cmd.Process.Pid }

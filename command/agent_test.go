package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/cli"
)

const agentArgs = "PRAETOR_TEST_AGENT_ARGS"

// TestAgentProcess is no test but the process that the tests below start.
func TestAgentProcess(t *testing.T) {
	text, ok := os.LookupEnv(agentArgs)
	if !ok {
		t.Skip("for the tests below")
	}
	var args []string
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		t.Fatal(err)
	}
	os.Exit(newAgentCommand(&cli.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}).Run(args))
}

// process is an agent in a process of its own.
type process struct {
	*exec.Cmd
	http   string
	out    strings.Builder // stdout up to the line that await saw
	stdout io.Closer
	lines  *bufio.Scanner
	stderr strings.Builder
}

func startAgent(t *testing.T, args ...string) *process {
	t.Helper()
	ports := freePorts(t, 3)
	p := &process{http: fmt.Sprintf("http://127.0.0.1:%d", ports[0])}
	all := append([]string{
		fmt.Sprintf("-http-port=%d", ports[0]), fmt.Sprintf("-server-port=%d", ports[1]), fmt.Sprintf("-serf-lan-port=%d", ports[2]),
	}, args...)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	p.Cmd = exec.Command(os.Args[0], "-test.run=^TestAgentProcess$")
	p.Env = append(os.Environ(), agentArgs+"="+string(text))
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.lines = out, bufio.NewScanner(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%s", &p.out, &p.stderr)
		}
	})
	return p
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// await reads stdout until a line has had the text.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(p.out.String(), text) {
		return
	}
	for p.lines.Scan() {
		fmt.Fprintln(&p.out, p.lines.Text())
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the process ended without %q", text)
}

// awaitRunning reads stdout until the agent runs and leads, in whichever order.
func (p *process) awaitRunning(t *testing.T) {
	t.Helper()
	p.await(t, "Praetor agent running!")
	p.await(t, "gained leadership")
}

// exits waits for the end of the process and checks the exit code.
func (p *process) exits(t *testing.T, want int) {
	t.Helper()
	for p.lines.Scan() {
		fmt.Fprintln(&p.out, p.lines.Text())
	}
	p.Wait()
	if got := p.ProcessState.ExitCode(); got != want {
		t.Errorf("got exit code %d, want %d", got, want)
	}
}

func (p *process) do(t *testing.T, method, path string) string {
	t.Helper()
	r, err := http.NewRequest(method, p.http+path, strings.NewReader("world"))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, _ := io.ReadAll(reply.Body)
	return string(body)
}

func TestAgentDev(t *testing.T) {
	t.Parallel()
	p := startAgent(t, "-dev")
	p.awaitRunning(t)
	for _, want := range []string{"==> Starting Praetor agent...", "Version: 0.1.0", "praetor kv put -http-addr=" + p.http + " hello world"} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("output lacks %q", want)
		}
	}
	if got := p.do(t, "PUT", "/v1/kv/hello"); strings.TrimSpace(got) != "true" {
		t.Errorf("got %q", got)
	}
	p.Process.Signal(syscall.SIGTERM)
	p.exits(t, 0)
}

func TestAgentSignals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "server.hcl")
	write := func(hcl string) {
		if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-server", "-bootstrap", "-bind=127.0.0.1", "-data-dir=" + dir + "/data", "-config-file=" + file}

	write(``)
	p := startAgent(t, args...)
	p.awaitRunning(t)
	p.do(t, "PUT", "/v1/kv/hello")

	second := startAgent(t, args...)
	second.exits(t, 1)
	if want := fmt.Sprintf("==> data directory %s/data is in use by another praetor agent (pid %d)", dir, p.Process.Pid); !strings.Contains(second.stderr.String(), want) {
		t.Errorf("got %q, want %q", &second.stderr, want)
	}

	write(`log_level = "loud"`)
	p.Process.Signal(syscall.SIGHUP)
	p.await(t, "reload refused")
	write(`raft_trailing_logs = 7`)
	p.Process.Signal(syscall.SIGHUP)
	p.await(t, "configuration reloaded")
	p.Process.Signal(os.Interrupt)
	p.exits(t, 0)

	write(`skip_leave_on_interrupt = false`)
	p = startAgent(t, args...)
	p.awaitRunning(t)
	if got := p.do(t, "GET", "/v1/kv/hello?raw"); got != "world" {
		t.Errorf("got %q after a restart", got)
	}
	p.Process.Signal(os.Interrupt)
	p.exits(t, 0)
	if !strings.Contains(p.out.String(), "leaving the cluster") {
		t.Error("did not leave on SIGINT")
	}
}

func TestAgentLeavesOverHTTP(t *testing.T) {
	t.Parallel()
	p := startAgent(t, "-dev")
	p.awaitRunning(t)
	p.do(t, "PUT", "/v1/agent/leave")
	p.exits(t, 0)
}

func TestAgentStopsAtOnceWithASecondSignal(t *testing.T) {
	t.Parallel()
	p := startAgent(t, "-dev", `-hcl=leave_on_terminate = true performance { leave_drain_time = "1m" }`)
	p.awaitRunning(t)
	p.Process.Signal(syscall.SIGTERM)
	p.await(t, "leaving the cluster")
	p.Process.Signal(syscall.SIGTERM)
	p.exits(t, 1)
}

// An agent whose log nobody reads any more goes on.
func TestAgentOutlivesItsReader(t *testing.T) {
	t.Parallel()
	p := startAgent(t, "-dev", "-log-level=trace")
	p.awaitRunning(t)
	p.stdout.Close()
	for range 3 { // each writes to the log
		if got := p.do(t, "PUT", "/v1/kv/hello"); strings.TrimSpace(got) != "true" {
			t.Errorf("got %q", got)
		}
		p.do(t, "PUT", "/v1/agent/reload")
	}
	p.Process.Signal(syscall.SIGTERM)
	p.exits(t, 0)
}

func TestAgentRefusesToStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "-nope"},
		{[]string{"-dev", "extra"}, "Too many arguments"},
		{[]string{"-server"}, "==> data_dir cannot be empty"},
		{[]string{"-dev", "-retry-join=127.0.0.1:1", "-retry-max=1"}, "==> no server of retry_join"},
	} {
		p := startAgent(t, tt.args...)
		p.exits(t, 1)
		if !strings.Contains(p.stderr.String(), tt.want) {
			t.Errorf("%q: got %q, want %q", tt.args, &p.stderr, tt.want)
		}
	}
}

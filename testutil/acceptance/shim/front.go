package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// front runs the agent behind a socket of its own, serves its HTTP address until it ends, and returns its exit code.
// The agent reads the very files it was given: only where it serves plain HTTP is said anew, in one more argument.
func front(praetor string, args []string, network, address string) (int, error) {
	dir, err := os.MkdirTemp("", "shim-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	backend := filepath.Join(dir, "http")

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGABRT)
	agent := exec.Command(praetor, append(args, `-hcl=addresses.http = "unix://`+backend+`"`)...)
	agent.Stdin, agent.Stdout, agent.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := agent.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- agent.Wait() }()
	up := make(chan struct{})
	go func() { await(backend); close(up) }()
	for {
		select {
		case s := <-signals:
			if err := agent.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return 0, err
			}
		case <-up: // whoever is early was refused, as the agent would have refused it
			up = nil
			l, err := net.Listen(network, address)
			if err != nil {
				agent.Process.Kill()
				<-ended
				return 0, err
			}
			defer l.Close()
			go serve(l, backend, roots())
		case <-ended:
			if status, ok := agent.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			return agent.ProcessState.ExitCode(), nil
		}
	}
}

// await returns when somebody listens at a socket.
func await(path string) {
	for {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

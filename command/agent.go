package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hashicorp/cli"

	"praetor/agent"
	"praetor/agent/config"
)

// agentCommand runs a server until a signal or the API ends it.
type agentCommand struct{ ui cli.Ui }

func newAgentCommand(ui cli.Ui) cli.Command { return &agentCommand{ui} }

// Synopsis is the line in the list of commands.
func (c *agentCommand) Synopsis() string { return "Run a Praetor server" }

// Help is what -help prints. Flags without effect are left out.
func (c *agentCommand) Help() string {
	var b strings.Builder
	b.WriteString(`Usage: praetor agent [flags]

  Runs a server until it is told to stop. Log lines go to stdout.

Examples:

    $ praetor agent -dev
    $ praetor agent -server -bootstrap-expect=3 -data-dir=/var/lib/praetor -retry-join=10.0.0.11
    $ praetor agent -config-dir=/etc/praetor.d
    $ praetor agent -config-dir=/etc/praetor.d -restore-from=latest    # a new cluster from a backup

Signals:

  SIGINT, SIGTERM   stop, and leave the cluster if so configured; a second one stops at once
  SIGHUP            read configuration and certificates again

Exit codes:

  0                 stopped as asked
  1                 could not start or stop as asked

Flags (Consul's others are accepted, without effect):

`)
	fs, _ := c.flags()
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		if usage == "accepted and ignored" {
			return
		}
		fmt.Fprintf(&b, "  -%s %s\n        %s\n", f.Name, value, usage)
	})
	return strings.TrimRight(b.String(), "\n")
}

func (c *agentCommand) flags() (*flag.FlagSet, *config.Flags) {
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs, config.AddFlags(fs)
}

// Run runs the agent and returns the exit code.
func (c *agentCommand) Run(args []string) int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // who reads our log may go

	fs, flags := c.flags()
	if err := fs.Parse(args); err != nil {
		return c.misused("%v", err)
	}
	if fs.NArg() > 0 {
		return c.misused("Too many arguments (expected 0, got %d)", fs.NArg())
	}
	empty := false
	fs.Visit(func(f *flag.Flag) { empty = empty || f.Name == "restore-from" && flags.RestoreFrom == "" })
	if empty { // a variable that is not set must not start an empty cluster
		return c.misused("-restore-from is empty: name a backup, or latest")
	}
	cfg, warnings, err := config.Load(flags)
	if err != nil {
		return c.failed(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	agent.TuneCollector(ctx)
	c.ui.Output("==> Starting Praetor agent...")
	a, err := c.start(cfg, agent.Options{
		LogOutput: &cli.UiWriter{Ui: c.ui},
		Load:      func() (*config.Runtime, []string, error) { return config.Load(flags) },
		Warnings:  warnings,

		RestoreFrom: flags.RestoreFrom,
		Announce:    func(a *agent.Agent) { c.announce(cfg, a) },
	}, signals)
	if err != nil {
		return c.failed(err)
	}
	return c.await(cfg, a, signals)
}

// start is agent.New, which a signal breaks off: a large state takes its time
// to load, and nothing is lost.
func (c *agentCommand) start(cfg *config.Runtime, options agent.Options, signals <-chan os.Signal) (*agent.Agent, error) {
	type result struct {
		*agent.Agent
		error
	}
	started := make(chan result, 1)
	go func() {
		a, err := agent.New(cfg, options)
		started <- result{a, err}
	}()
	for {
		select {
		case r := <-started:
			return r.Agent, r.error
		case s := <-signals:
			if s != syscall.SIGHUP {
				return nil, fmt.Errorf("%v while starting", s)
			}
		}
	}
}

// announce prints what runs here, and how to talk to it.
func (c *agentCommand) announce(cfg *config.Runtime, a *agent.Agent) {
	c.ui.Output(a.Summary())
	if addrs := a.HTTPAddrs(); (cfg.Dev || cfg.Bootstrap) && len(addrs) > 0 && strings.HasPrefix(addrs[0], "http://") {
		url := strings.NewReplacer("//0.0.0.0:", "//127.0.0.1:", "//[::]:", "//[::1]:").Replace(addrs[0])
		at := ""
		if url != "http://127.0.0.1:8500" {
			at = " -http-addr=" + url
		}
		c.ui.Output(fmt.Sprintf("    Try it from another terminal:\n\n        %[1]s kv put%[2]s hello world\n"+
			"        curl '%[3]s/v1/kv/hello?raw'\n        %[1]s members%[2]s\n", asTyped(), at, url))
	}
	c.ui.Output("==> Log data will now stream in as it occurs:\n")
}

// asTyped is how this program was started, so that the same will work again.
func asTyped() string {
	if filepath.Base(os.Args[0]) == "praetor" {
		return os.Args[0]
	}
	return "praetor"
}

// await serves signals until the agent has stopped.
func (c *agentCommand) await(cfg *config.Runtime, a *agent.Agent, signals <-chan os.Signal) int {
	a.LogRunning()
	stopping := false
	for {
		select {
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				_ = a.Reload() // says in the log how it went
			case stopping:
				c.ui.Error(fmt.Sprintf("==> second signal (%v): stopping at once", s))
				return 1
			default:
				stopping = true
				c.ui.Output(fmt.Sprintf("==> Caught signal: %v", s))
				leave := s == syscall.SIGTERM && cfg.LeaveOnTerminate || s == os.Interrupt && !cfg.SkipLeaveOnInterrupt
				if !leave || a.Leave() != nil {
					go a.Shutdown()
				}
			}
		case <-a.Done():
			if err := a.Wait(); err != nil {
				return c.failed(err)
			}
			return 0
		}
	}
}

// failed prints every reason on a line of its own.
func (c *agentCommand) failed(err error) int {
	for line := range strings.Lines(err.Error()) {
		c.ui.Error("==> " + strings.TrimRight(line, "\n"))
	}
	return 1
}

func (c *agentCommand) misused(format string, args ...any) int {
	c.ui.Error("Error! " + fmt.Sprintf(format, args...) + "\n\nUsage: praetor agent [flags]\n\"praetor agent -help\" explains more.")
	return 1
}

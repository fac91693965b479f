package command

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/cli"

	"praetor/agent/config"
)

// entry is one command: a line of the table below.
type entry struct {
	name, synopsis string
	make           func(*shell, entry) cli.Command
}

// commands is the whole command line. A parent stands before its subcommands.
var commands = []entry{
	{"agent", "Run a Praetor server", func(s *shell, _ entry) cli.Command { return newAgentCommand(s.ui()) }},
	{"backup", "Look at, take and restore backups", parent(backupHelp)},
	{"backup list", "List the backups at a target", offline(backupList)},
	{"backup log", "List what was changed when", offline(backupLog)},
	{"backup restore", "Replace the cluster's state by a backup", online(backupRestore)},
	{"backup run", "Take a backup now", online(backupRun)},
	{"backup status", "Show how the backups are doing", online(backupStatus)},
	{"catalog", "Look at the nodes and services there are", parent(catalogHelp)},
	{"catalog datacenters", "List the datacenters", online(catalogDatacenters)},
	{"catalog nodes", "List the nodes", online(catalogNodes)},
	{"catalog services", "List the services", online(catalogServices)},
	{"event", "Fire an event", online(event)},
	{"force-leave", "Declare a failed member as left", online(forceLeave)},
	{"info", "Show what the server says about itself", online(info)},
	{"join", "Tell the server to join a cluster", online(join)},
	{"keygen", "Make a key for gossip encryption", offline(keygen)},
	{"keyring", "Show and change the keys of gossip encryption", online(keyring)},
	{"kv", "Read and write keys", parent(kvHelp)},
	{"kv delete", "Delete keys", online(kvDelete)},
	{"kv export", "Print keys and values as JSON", online(kvExport)},
	{"kv get", "Print the value of a key", online(kvGet)},
	{"kv import", "Write keys and values from JSON", online(kvImport)},
	{"kv list", "List keys", online(kvList)},
	{"kv put", "Set the value of a key", online(kvPut)},
	{"leave", "Make the server leave the cluster and stop", online(leave)},
	{"lock", "Run a command while holding a lock", online(lock)},
	{"maint", "Put a node or service into maintenance", online(maint)},
	{"members", "List the members of the cluster", online(members)},
	{"monitor", "Follow the server's log", online(monitor)},
	{"operator", "Look after a cluster", parent(operatorHelp)},
	{"operator autopilot", "See and change how dead servers are replaced", parent(autopilotHelp)},
	{"operator autopilot get-config", "Show the autopilot configuration", online(autopilotGet)},
	{"operator autopilot set-config", "Change the autopilot configuration", online(autopilotSet)},
	{"operator autopilot state", "Show how the leader sees the servers", online(autopilotState)},
	{"operator raft", "See and change the raft configuration", parent(raftHelp)},
	{"operator raft add-peer", "Add a server to the raft configuration", online(raftAdd)},
	{"operator raft convert", "Change how a server that does not run keeps its raft log", offline(raftConvert)},
	{"operator raft demote-peer", "Take a server's vote", online(raftDemote)},
	{"operator raft list-peers", "List the servers of the raft configuration", online(raftList)},
	{"operator raft log", "Print the raft log of a server that does not run", offline(raftLog)},
	{"operator raft promote-peer", "Give a server a vote", online(raftPromote)},
	{"operator raft remove-peer", "Remove a server from the raft configuration", online(raftRemove)},
	{"operator raft transfer-leader", "Hand leadership to another server", online(raftTransfer)},
	{"operator recover", "Get a cluster going again that has lost its quorum", offline(operatorRecover)},
	{"reload", "Make the server read its configuration again", online(reload)},
	{"rtt", "Estimate the time between two nodes", online(rtt)},
	{"services", "Register services with a server", parent(servicesHelp)},
	{"services deregister", "Take services out of a server", online(servicesDeregister)},
	{"services register", "Register services", online(servicesRegister)},
	{"session", "Make, look at and end sessions", parent(sessionHelp)},
	{"session create", "Make a session", online(sessionCreate)},
	{"session destroy", "End sessions", online(sessionDestroy)},
	{"session info", "Show a session", online(sessionInfo)},
	{"session list", "List the sessions", online(sessionList)},
	{"session renew", "Keep a session alive", online(sessionRenew)},
	{"snapshot", "Save, restore and look into snapshots", parent(snapshotHelp)},
	{"snapshot decode", "Print a snapshot file's records as JSON", offline(snapshotDecode)},
	{"snapshot diff", "Show what differs between two snapshot files", offline(snapshotDiff)},
	{"snapshot export", "Print what is in a snapshot file as JSON", offline(snapshotExport)},
	{"snapshot get", "Print the value of a key in a snapshot file", offline(snapshotGet)},
	{"snapshot inspect", "Show what a snapshot file holds", offline(snapshotInspect)},
	{"snapshot restore", "Replace the cluster's state by a snapshot, or put a prefix back", online(snapshotRestore)},
	{"snapshot save", "Save the cluster's state to a file", online(snapshotSave)},
	{"snapshot verify", "Check a snapshot file", offline(snapshotVerify)},
	{"txn", "Run a transaction", online(txn)},
	{"validate", "Check configuration files", offline(validate)},
	{"version", "Show the version", offline(showVersion)},
	{"watch", "Watch for changes", online(watch)},
}

// shell is what a command has of the world.
type shell struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// ui is the same in the form that the agent's own cli.Command takes.
func (s *shell) ui() cli.Ui {
	return &cli.BasicUi{Reader: s.stdin, Writer: s.stdout, ErrorWriter: s.stderr}
}

// Run runs one command line, given without the program's name, and returns the
// exit code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := &shell{stdin, stdout, stderr}
	c := &cli.CLI{
		Name: "praetor", Version: versionText(), Args: args, Commands: make(map[string]cli.CommandFactory),
		HelpFunc: rootHelp, HelpWriter: stdout, ErrorWriter: stderr, Autocomplete: true,
	}
	for _, e := range commands {
		c.Commands[e.name] = func() (cli.Command, error) { return e.make(s, e), nil }
	}
	if name := c.Subcommand(); name != "" && c.Commands[name] == nil {
		s.unknown("", name)
	}
	code, err := c.Run()
	if err != nil {
		fmt.Fprintf(stderr, "Error! %v\n", err)
		return max(code, 1)
	}
	if code == 0 && c.Subcommand() == "" && len(args) == 1 && strings.HasSuffix(args[0], "-autocomplete-install") {
		fmt.Fprintln(stderr, "Completion is set up. It works in shells started from now on.")
	}
	return code
}

// unknown says that there is no such command under parent, and which one may be
// meant.
func (s *shell) unknown(parent, name string) {
	var known []string
	for _, e := range commands {
		if rest, ok := strings.CutPrefix(e.name, parent); ok && rest != "" {
			known = append(known, rest)
		}
	}
	fmt.Fprintf(s.stderr, "praetor has no command %q.%s\n\n", parent+name, didYouMean(parent, name, known))
}

func rootHelp(map[string]cli.CommandFactory) string {
	var b strings.Builder
	b.WriteString(`Usage: praetor [-version] [-help] [-autocomplete-install] <command> [<args>]

  "praetor <command> -help" explains a command, with examples.
  "praetor agent -dev" starts a server to try things out on.

Commands:
`)
	for _, e := range commands {
		if !strings.Contains(e.name, " ") {
			fmt.Fprintf(&b, "    %-14s %s\n", e.name, e.synopsis)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// group is a command that only has subcommands.
type group struct {
	*shell
	entry
	help help
}

func parent(h help) func(*shell, entry) cli.Command {
	return func(s *shell, e entry) cli.Command { return &group{s, e, h} }
}

func (g *group) Synopsis() string { return g.synopsis }

func (g *group) Help() string {
	return strings.TrimRight("Usage: praetor "+g.name+" <subcommand> [flags] [operands]\n\n"+g.help.String(), "\n")
}

func (g *group) Run(args []string) int {
	if named := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") }); named == 0 {
		g.unknown(g.name+" ", args[0])
	} else if len(args) > 0 {
		fmt.Fprintf(g.stderr, "Flags come after the subcommand: praetor %s <subcommand> %s\n\n", g.name, args[0])
	}
	return cli.RunResultHelp
}

// didYouMean is a question about the known name nearest to the given one, or
// empty if all of them are far from it.
func didYouMean(prefix, name string, known []string) string {
	best, fewest := "", min(max(2, len(name)/3)+1, len(name))
	for _, k := range known {
		d := config.Edits(name, k)
		if strings.Contains(k, name) && len(name) > 2 {
			d = 1
		}
		if d < fewest {
			best, fewest = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", prefix+best)
}

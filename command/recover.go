package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/posener/complete"

	"praetor/rpcserver/recovery"
)

func operatorRecover(v *verb) {
	v.operands = []string{"DATA-DIR..."}
	v.complete = complete.PredictDirs("*")
	v.help = help{`
Gets a cluster going again that has lost more than half of its voting servers for good. Stop all that is left of it, then
name the data directory of every server that is left: which of them has most, what may be lost and how the cluster will go
on is shown, and raft/peers.json is written into the directories. The servers take it over when they start.

Servers on other machines: on each of these, write a report with -report, and name the files beside the data directory
here. What must be copied to the other machines is shown.

What would lose more than must be lost is refused, and so are servers that do not belong together.`,
		[]string{`operator recover -dry-run /var/lib/praetor`, `operator recover /var/lib/praetor`,
			`operator recover -report /var/lib/praetor > b.json`, `operator recover /var/lib/praetor b.json c.json`},
	}
	report := v.flags.Bool("report", false, "Only print what the data directories hold, as JSON for this command on another machine.")
	dryRun := v.flags.Bool("dry-run", false, "Show everything, write nothing.")
	choose := v.flags.String("choose", "", "Go on with the data of the server with this `id` instead of the best one's.")
	var moved texts
	v.flags.Var(&moved, "address", "The server has another address now: `id=host:port`. May be given several times.")
	majority := v.flags.Bool("even-with-a-majority", false, "Go on although the servers that are left are enough to elect a leader.")
	losing := v.flags.Uint64("i-accept-losing-entries", 0, "Lose this `number` of entries that could be kept; it is told when it is needed.")
	v.run = func(operands []string) error {
		o := recovery.Options{Choose: *choose, Addresses: map[string]string{}, AcceptLosing: *losing, Majority: *majority}
		for _, m := range moved {
			id, address, ok := strings.Cut(m, "=")
			if !ok || id == "" || !strings.Contains(address, ":") {
				return misusef("-address must be id=host:port, not %q", m)
			}
			o.Addresses[strings.ToLower(id)] = address
		}
		survivors, err := recovery.ReadAll(operands)
		if err != nil {
			return failf("Cannot recover: %v", err)
		}
		defer recovery.CloseAll(survivors)
		if *report {
			return recovery.WriteReport(v.stdout, survivors)
		}
		plan, refused := recovery.New(survivors, o)
		if err := v.printSurvivors(plan); err != nil {
			return err
		}
		if refused != nil {
			return failf("Refused, nothing was written: %v", refused)
		}
		v.printPlan(plan)
		if *dryRun {
			fmt.Fprintln(v.stdout, "\nNothing was written (-dry-run).")
			return nil
		}
		if err := plan.Write(); err != nil {
			return failf("Cannot recover: %v", err)
		}
		v.printNext(plan)
		return nil
	}
}

// printSurvivors shows what was found.
func (s *shell) printSurvivors(p *recovery.Plan) error {
	rows := [][]string{{"Server", "Data", "Last Index", "Last Term", "Last Entry At", "Snapshot", "Compared"}}
	for _, survivor := range p.Survivors {
		at, snapshot := "", ""
		if !survivor.LastTime.IsZero() {
			at = survivor.LastTime.UTC().Format(time.RFC3339)
		}
		if len(survivor.Snapshots) > 0 {
			snapshot = fmt.Sprintf("%d (term %d)", survivor.Snapshots[0].Index, survivor.Snapshots[0].Term)
		}
		rows = append(rows, []string{dash(survivor.ID), survivor.Where(), fmt.Sprint(survivor.LastIndex), fmt.Sprint(survivor.LastTerm),
			dash(at), dash(snapshot), dash(p.Compared(survivor))})
	}
	if err := s.printTable(rows); err != nil {
		return err
	}
	for _, survivor := range p.Survivors {
		for _, d := range survivor.Damage {
			fmt.Fprintf(s.stdout, "\nDamage in %s: %s\n", survivor.Where(), d)
		}
	}
	if p.Chosen == nil {
		return nil
	}
	c := p.Chosen
	fmt.Fprintf(s.stdout, "\nThe cluster (id %s) as %s knows it, since entry %d:\n\n", dash(c.Cluster), c.Name(), c.ServersFrom)
	rows = [][]string{{"Server", "Address", "Votes", "Here"}}
	for _, server := range c.Servers {
		here := "no"
		for _, survivor := range p.Survivors {
			if survivor.ID == server.ID {
				here = "yes"
			}
		}
		rows = append(rows, []string{server.ID, server.Address, fmt.Sprint(server.Voter), here})
	}
	return s.printTable(rows)
}

// printPlan shows what will be.
func (s *shell) printPlan(p *recovery.Plan) {
	fmt.Fprintf(s.stdout, "\nThe best: %s (%s).\n\nWhat may be lost:\n", p.Best.Name(), p.Best.Where())
	if p.Chosen != p.Best {
		fmt.Fprintf(s.stdout, "  - The data that counts is not the best one's, as you said, but that of %s.\n", p.Chosen.Name())
	}
	for _, line := range p.Losses() {
		fmt.Fprintf(s.stdout, "  - %s\n", line)
	}
	if len(p.Gone) > 0 {
		fmt.Fprintf(s.stdout, "\nIf one of these still has its disk, name it too, it may have more (-report on its machine):\n")
		for _, server := range p.Gone {
			fmt.Fprintf(s.stdout, "  - server %s at %s\n", server.ID, server.Address)
		}
		fmt.Fprintf(s.stdout, "Never start them again with their old data: they could make a second cluster of it.\n")
	}
	fmt.Fprintf(s.stdout, "\nThe new configuration, raft/peers.json:\n\n%s", p.JSON())
}

// printNext says what was done and what is left to do.
func (s *shell) printNext(p *recovery.Plan) {
	fmt.Fprintln(s.stdout)
	for _, local := range p.Local() {
		fmt.Fprintf(s.stdout, "Written: %s\n", local.PeersFile())
	}
	step := 1
	say := func(format string, args ...any) {
		fmt.Fprintf(s.stdout, "%d. "+format+"\n", append([]any{step}, args...)...)
		step++
	}
	fmt.Fprintln(s.stdout, "\nWhat to do now:")
	for _, survivor := range p.Survivors {
		switch {
		case !survivor.Fit:
			say("Move %s away: its data is damaged. Its server can join with an empty directory when the cluster is back.", survivor.Where())
		case survivor.Remote():
			say("On %s, put the lines above (all from [ to ]) into %s, readable for the server.", survivor.Host, survivor.PeersFile())
		}
	}
	say("Start the servers, %s among them: it leads. Each takes its peers.json over and deletes it.", p.Chosen.Name())
	if waiting := nonVoters(p); waiting > 0 {
		say("Wait some seconds: servers without a vote now get theirs back once they have caught up (unless they are read replicas).")
	}
	say("See that it works: praetor operator raft list-peers")
	say("Start new servers with empty data directories in place of those that are gone; they join like any other.")
}

func nonVoters(p *recovery.Plan) (n int) {
	for _, peer := range p.Peers {
		if peer.NonVoter {
			n++
		}
	}
	return n
}

package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// memberStatus names serf's numbers.
var memberStatus = []string{"none", "alive", "leaving", "left", "failed"}

// member is a line of "members", with -format=json an object.
type member struct {
	Node, Address, Status, Type, Build, Protocol, DC, Partition, Segment string
	Tags                                                                 map[string]string
}

func newMember(m *api.AgentMember) member {
	line := member{
		Node: m.Name, Address: net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port))), Status: strconv.Itoa(m.Status),
		Type: "unknown", Protocol: m.Tags["vsn"], DC: m.Tags["dc"], Partition: cmp.Or(m.Tags["ap"], "default"),
		Segment: cmp.Or(m.Tags["segment"], "<default>"), Tags: m.Tags,
	}
	line.Build, _, _ = strings.Cut(m.Tags["build"], ":")
	if m.Status >= 0 && m.Status < len(memberStatus) {
		line.Status = memberStatus[m.Status]
	}
	switch m.Tags["role"] {
	case "consul":
		line.Type, line.Segment = "server", "<all>"
	case "node":
		line.Type = "client"
	}
	return line
}

// noWAN adds -wan, which Consul's users may have in their scripts.
func (v *verb) noWAN() func() error {
	wan := v.flags.Bool("wan", false, "Not supported: Praetor does not join datacenters over the WAN.")
	return func() error {
		if *wan {
			return failf("Error! Praetor does not join datacenters over the WAN, so there is no WAN pool to ask about")
		}
		return nil
	}
}

func members(v *verb) {
	v.help = help{`
Lists the members of the cluster that the server knows of by gossip, failed ones too. The exit code is 2 if -status or
-filter leaves none.`,
		[]string{`members`, `members -status=failed`, `members -detailed`, `members -format=json`},
	}
	detailed := v.flags.Bool("detailed", false, "Show all tags in place of the columns made from them.")
	status := v.flags.String("status", ".*", "Show only members whose status matches this regular `expression`.")
	filter := v.flags.String("filter", "", "Show only members for which this `expression` is true on the server.")
	checkWAN := v.noWAN()
	v.formats()
	v.run = func([]string) error {
		if err := checkWAN(); err != nil {
			return err
		}
		match, err := regexp.Compile(*status)
		if err != nil {
			return misusef("-status is no regular expression: %v", err)
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		found, err := client.Agent().MembersOpts(api.MembersOpts{Segment: "_all", Filter: *filter})
		if err != nil {
			return fmt.Errorf("retrieving members: %w", err)
		}
		lines := []member{}
		for _, m := range found {
			if line := newMember(m); match.MatchString(line.Status) {
				lines = append(lines, line)
			}
		}
		if len(lines) == 0 {
			return exit(2)
		}
		slices.SortFunc(lines, func(a, b member) int { return cmp.Compare(a.Node, b.Node) })
		if v.json() {
			return v.printJSON(lines)
		}
		rows := [][]string{{"Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Partition", "Segment"}}
		if *detailed {
			rows = [][]string{{"Node", "Address", "Status", "Tags"}}
		}
		for _, l := range lines {
			row := []string{l.Node, l.Address, l.Status, l.Type, l.Build, l.Protocol, l.DC, l.Partition, l.Segment}
			if *detailed {
				row = append(row[:3], equations(l.Tags))
			}
			rows = append(rows, row)
		}
		return v.printTable(rows)
	}
}

func join(v *verb) {
	v.operands = []string{"ADDRESS..."}
	v.help = help{`
Tells the server to join the cluster that the servers at these gossip addresses are members of. One that answers is
enough; -retry-join on the agent does the same without anyone asking.`,
		[]string{`join 10.0.0.11`, `join 10.0.0.11:8301 10.0.0.12:8301`},
	}
	checkWAN := v.noWAN()
	v.run = func(operands []string) error {
		if err := checkWAN(); err != nil {
			return err
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		joined := 0
		for _, addr := range operands {
			err := client.Agent().Join(addr, false)
			switch {
			case unreachable(err):
				return err
			case err != nil:
				fmt.Fprintf(v.stderr, "Error joining address '%s': %v\n", addr, err)
			default:
				joined++
			}
		}
		if joined == 0 {
			return failf("Failed to join any nodes.")
		}
		_, err = fmt.Fprintf(v.stdout, "Successfully joined cluster by contacting %d nodes.\n", joined)
		return err
	}
}

func leave(v *verb) {
	v.help = help{`
Makes the server leave the cluster and stop. The others then know that it did not fail, and need one vote less.`,
		[]string{`leave`, `leave -http-addr=10.0.0.13:8500`},
	}
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		// A server that stops may cut off its own answer.
		if err := client.Agent().Leave(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("leaving: %w", err)
		}
		_, err = fmt.Fprintln(v.stdout, "Graceful leave complete")
		return err
	}
}

func forceLeave(v *verb) {
	v.operands = []string{"NODE"}
	v.help = help{`
Declares a member that failed as left, so that the servers stop trying to reach it. One that is alive after all comes
back by itself.`,
		[]string{`force-leave server-3`, `force-leave -prune server-3`},
	}
	prune := v.flags.Bool("prune", false, "Forget the member altogether.")
	checkWAN := v.noWAN()
	v.run = func(operands []string) error {
		if err := checkWAN(); err != nil {
			return err
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		if err := client.Agent().ForceLeaveOpts(operands[0], api.ForceLeaveOpts{Prune: *prune}); err != nil {
			return fmt.Errorf("force leaving: %w", err)
		}
		return nil
	}
}

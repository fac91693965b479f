package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

func autopilotState(v *verb) {
	v.help = help{`
Shows how the leader sees the servers: which are healthy, which vote, and how many may fail before the cluster stops.`,
		[]string{`operator autopilot state`, `operator autopilot state -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		state, err := client.Operator().AutopilotState(v.connection.read())
		if err != nil {
			return fmt.Errorf("querying Autopilot state: %w", err)
		}
		if v.json() {
			return v.printJSON(state)
		}
		_, err = fmt.Fprint(v.stdout, autopilotTree(state))
		return err
	}
}

func autopilotTree(s *api.AutopilotState) string {
	var b strings.Builder
	line := func(depth int, name string, value any) {
		fmt.Fprintf(&b, "%*s%-*s %v\n", 3*depth, "", 30-3*depth, name+":", value)
	}
	list := func(name string, ids []string) {
		fmt.Fprintf(&b, "%s:\n", name)
		for _, id := range ids {
			fmt.Fprintf(&b, "   %s\n", id)
		}
	}
	line(0, "Healthy", s.Healthy)
	line(0, "Failure Tolerance", s.FailureTolerance)
	line(0, "Optimistic Failure Tolerance", s.OptimisticFailureTolerance)
	line(0, "Leader", s.Leader)
	list("Voters", slices.Sorted(slices.Values(s.Voters)))
	if len(s.ReadReplicas) > 0 {
		list("Read Replicas", slices.Sorted(slices.Values(s.ReadReplicas)))
	}
	b.WriteString("Servers:\n")
	for _, id := range slices.Sorted(maps.Keys(s.Servers)) {
		server := s.Servers[id]
		fmt.Fprintf(&b, "   %s\n", id)
		line(2, "Name", server.Name)
		line(2, "Address", server.Address)
		line(2, "Version", server.Version)
		line(2, "Status", server.Status)
		line(2, "Node Type", server.NodeType)
		line(2, "Node Status", server.NodeStatus)
		line(2, "Healthy", server.Healthy)
		line(2, "Stable Since", server.StableSince.UTC().Format("2006-01-02T15:04:05Z"))
		line(2, "Last Contact", server.LastContact.String())
		line(2, "Last Term", server.LastTerm)
		line(2, "Last Index", server.LastIndex)
	}
	return b.String()
}

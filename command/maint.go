package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func maint(v *verb) {
	v.help = help{`
Puts the server's node, or with -service one service on it, into maintenance: a critical check keeps others from using
it. It lasts, over restarts too, until -disable. Without flags it shows what is in maintenance.`,
		[]string{`maint`, `maint -enable -reason 'a new disk'`, `maint -enable -service=web1`, `maint -disable -service=web1`},
	}
	enable := v.flags.Bool("enable", false, "Begin the maintenance.")
	disable := v.flags.Bool("disable", false, "End the maintenance.")
	reason := v.flags.String("reason", "", "Why, as a `text` for people.")
	service := v.flags.String("service", "", "The `id` of the service, in place of the node.")
	v.run = func([]string) error {
		switch {
		case *enable && *disable:
			return misusef("Only one of -enable and -disable makes sense")
		case *reason != "" && !*enable:
			return misusef("-reason goes with -enable")
		case *service != "" && !*enable && !*disable:
			return misusef("-service goes with -enable or -disable")
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		agent := client.Agent()
		done := "enabled"
		switch {
		case *service != "" && *enable:
			err = agent.EnableServiceMaintenance(*service, *reason)
		case *enable:
			err = agent.EnableNodeMaintenance(*reason)
		case *service != "":
			done, err = "disabled", agent.DisableServiceMaintenance(*service)
		case *disable:
			done, err = "disabled", agent.DisableNodeMaintenance()
		default:
			return v.inMaintenance()
		}
		if err != nil {
			return fmt.Errorf("changing the maintenance: %w", err)
		}
		if *service != "" {
			_, err = fmt.Fprintf(v.stdout, "Service maintenance is now %s for %q\n", done, *service)
		} else {
			_, err = fmt.Fprintf(v.stdout, "Node maintenance is now %s\n", done)
		}
		return err
	}
}

// inMaintenance shows the node and services that are.
func (v *verb) inMaintenance() error {
	client, err := v.connection.client()
	if err != nil {
		return err
	}
	checks, err := client.Agent().Checks()
	if err != nil {
		return fmt.Errorf("querying checks: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		c := checks[id]
		switch {
		case id == "_node_maintenance":
			_, err = fmt.Fprintf(v.stdout, "Node:\n  Name:   %s\n  Reason: %s\n\n", c.Node, c.Notes)
		case strings.HasPrefix(id, "_service_maintenance:"):
			_, err = fmt.Fprintf(v.stdout, "Service:\n  ID:     %s\n  Reason: %s\n\n", c.ServiceID, c.Notes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

package command

import (
	"flag"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"
)

var (
	operatorHelp = help{`
What the operator of a cluster needs beyond the daily work.`,
		[]string{`operator raft list-peers`, `operator autopilot get-config`, `operator recover -dry-run /var/lib/praetor`},
	}
	autopilotHelp = help{`
Autopilot gives new servers a vote when they have been healthy for a while, and removes dead ones when they are
replaced.`,
		[]string{`operator autopilot state`, `operator autopilot get-config`, `operator autopilot set-config -cleanup-dead-servers=false`},
	}
)

func autopilotGet(v *verb) {
	v.help = help{`
Shows how autopilot is configured.`,
		[]string{`operator autopilot get-config`, `operator autopilot get-config -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		c, err := client.Operator().AutopilotGetConfiguration(v.connection.read())
		if err != nil {
			return fmt.Errorf("querying Autopilot configuration: %w", err)
		}
		if v.json() {
			return v.printJSON(c)
		}
		_, err = fmt.Fprintf(v.stdout, "CleanupDeadServers = %t\nLastContactThreshold = %v\nMaxTrailingLogs = %d\nMinQuorum = %d\n"+
			"ServerStabilizationTime = %v\nRedundancyZoneTag = %q\nDisableUpgradeMigration = %t\nUpgradeVersionTag = %q\n",
			c.CleanupDeadServers, c.LastContactThreshold, c.MaxTrailingLogs, c.MinQuorum,
			c.ServerStabilizationTime, c.RedundancyZoneTag, c.DisableUpgradeMigration, c.UpgradeVersionTag)
		return err
	}
}

func autopilotSet(v *verb) {
	v.help = help{`
Changes the parts of the configuration that are named by flags; the rest stays. If somebody else changes it at the same
time, nothing is written.`,
		[]string{`operator autopilot set-config -cleanup-dead-servers=false`,
			`operator autopilot set-config -server-stabilization-time=30s -min-quorum=3`},
	}
	var c api.AutopilotConfiguration // what the flags say
	contact := v.flags.Duration("last-contact-threshold", 0, "A server is unhealthy when it has not heard from the leader for this `duration`.")
	stable := v.flags.Duration("server-stabilization-time", 0, "A new server must be healthy for this `duration` before it gets a vote.")
	v.flags.BoolVar(&c.CleanupDeadServers, "cleanup-dead-servers", false, "Remove dead servers when a new one comes (`true` or false).")
	v.flags.Uint64Var(&c.MaxTrailingLogs, "max-trailing-logs", 0, "A server is unhealthy when it is this `number` of entries behind the leader.")
	v.flags.UintVar(&c.MinQuorum, "min-quorum", 0, "Keep at least this `number` of servers when dead ones are removed.")
	v.flags.StringVar(&c.RedundancyZoneTag, "redundancy-zone-tag", "", "Kept for Consul's sake, no effect: node-meta `name` of a zone.")
	v.flags.BoolVar(&c.DisableUpgradeMigration, "disable-upgrade-migration", false, "Kept for Consul's sake, no effect.")
	v.flags.StringVar(&c.UpgradeVersionTag, "upgrade-version-tag", "", "Kept for Consul's sake, no effect: node-meta `name` of a version.")
	take := map[string]func(to *api.AutopilotConfiguration){
		"cleanup-dead-servers":      func(to *api.AutopilotConfiguration) { to.CleanupDeadServers = c.CleanupDeadServers },
		"last-contact-threshold":    func(to *api.AutopilotConfiguration) { to.LastContactThreshold = readable(*contact) },
		"server-stabilization-time": func(to *api.AutopilotConfiguration) { to.ServerStabilizationTime = readable(*stable) },
		"max-trailing-logs":         func(to *api.AutopilotConfiguration) { to.MaxTrailingLogs = c.MaxTrailingLogs },
		"min-quorum":                func(to *api.AutopilotConfiguration) { to.MinQuorum = c.MinQuorum },
		"redundancy-zone-tag":       func(to *api.AutopilotConfiguration) { to.RedundancyZoneTag = c.RedundancyZoneTag },
		"disable-upgrade-migration": func(to *api.AutopilotConfiguration) { to.DisableUpgradeMigration = c.DisableUpgradeMigration },
		"upgrade-version-tag":       func(to *api.AutopilotConfiguration) { to.UpgradeVersionTag = c.UpgradeVersionTag },
	}
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		config, err := client.Operator().AutopilotGetConfiguration(nil)
		if err != nil {
			return fmt.Errorf("querying Autopilot configuration: %w", err)
		}
		changes := 0
		v.set.Visit(func(f *flag.Flag) {
			if set := take[f.Name]; set != nil {
				set(config)
				changes++
			}
		})
		if changes == 0 {
			return misusef("Nothing to change: name what is to be changed by a flag")
		}
		done, err := client.Operator().AutopilotCASConfiguration(config, nil)
		if err != nil {
			return fmt.Errorf("setting Autopilot configuration: %w", err)
		}
		if !done {
			return failf("Error! The configuration was changed by somebody else just now: nothing was written, please look again")
		}
		_, err = fmt.Fprintln(v.stdout, "Configuration updated!")
		return err
	}
}

func readable(d time.Duration) *api.ReadableDuration { return api.NewReadableDuration(d) }

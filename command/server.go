package command

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func info(v *verb) {
	v.help = help{`
Shows what the server says about itself: build, raft, gossip, runtime.`,
		[]string{`info`, `info -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		self, err := client.Agent().Self()
		if err != nil {
			return fmt.Errorf("querying the server: %w", err)
		}
		stats := self["Stats"]
		if stats == nil {
			return failf("Error! The server tells nothing about itself: its answer has no Stats")
		}
		if v.json() {
			return v.printJSON(stats)
		}
		for _, section := range slices.Sorted(maps.Keys(stats)) {
			fmt.Fprintf(v.stdout, "%s:\n", section)
			values, _ := stats[section].(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(values)) {
				fmt.Fprintf(v.stdout, "\t%s = %v\n", name, values[name])
			}
		}
		return nil
	}
}

func reload(v *verb) {
	v.help = help{`
Makes the server read its configuration again and take over what can change while it runs, as SIGHUP does. Its log
says what must wait for a restart.`,
		[]string{`reload`, `reload -http-addr=10.0.0.11:8500`},
	}
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		if err := client.Agent().Reload(); err != nil {
			return fmt.Errorf("reloading: %w", err)
		}
		_, err = fmt.Fprintln(v.stdout, "Configuration reload triggered")
		return err
	}
}

func monitor(v *verb) {
	v.help = help{`
Prints the server's log lines as they are written, until ctrl-C. The level is this command's own: the server's log is
not changed by it.`,
		[]string{`monitor`, `monitor -log-level=debug`, `monitor -log-json | jq .`},
	}
	level := v.flags.String("log-level", "INFO", "Print lines of this `level` and above: trace, debug, info, warn or error.")
	asJSON := v.flags.Bool("log-json", false, "Print each line as a JSON object.")
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		follow := client.Agent().Monitor
		if *asJSON {
			follow = client.Agent().MonitorJSON
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		lines, err := follow(*level, ctx.Done(), v.connection.read().WithContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("starting monitor: %w", err)
		}
		for {
			select {
			case line := <-lines:
				switch {
				case ctx.Err() != nil:
					return nil
				case line == "": // the client's sign for the end
					return failf("Error! The server ended its log stream: it has probably stopped")
				}
				if _, err := fmt.Fprintln(v.stdout, line); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	}
}

package command

import (
	"fmt"
	"io"

	"github.com/posener/complete"

	"praetor/fsm"
	"praetor/structs"
)

func snapshotVerify(v *verb) {
	v.operands = []string{"FILE"}
	v.complete = complete.PredictFiles("*.snap")
	v.help = help{`
Reads the snapshot in FILE to its end: its sums, every record in it, and whether they fit together: every lock has its
session, every session its node and its checks, every check its service, nothing is there twice, and no index lies ahead
of the snapshot. No server is needed. FILE may be - for standard input, or state.bin as for inspect.

Everything that is wrong is one line. The exit code is 0 if nothing is, else 1.`,
		[]string{`snapshot verify backup.snap`, `snapshot verify -skip-enterprise enterprise.snap`, `snapshot verify - < backup.snap`}}
	skip := skipEnterprise(v.flags)
	v.run = func(operands []string) error {
		path := operands[0]
		file, err := v.openSnapshot(path, *skip)
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
		var c fsm.Check
		dropped := structs.Dropped{}
		meta, err := file.stream(func(state io.Reader) error {
			if *skip {
				c.Skipped = func(kind structs.MessageType) { dropped[kind]++ }
			}
			return c.Run(state)
		})
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
		v.tellDropped(path, dropped)
		violations := c.Violations(meta.Index)
		for _, violation := range violations {
			if _, err := fmt.Fprintln(v.stdout, violation); err != nil {
				return err
			}
		}
		if n := len(violations); n > 0 {
			return failf("Error! %s is no sound snapshot: faults found: %d.", path, n)
		}
		_, err = fmt.Fprintf(v.stdout, "Verified snapshot to index %d: records %d, keys %d, sessions %d\n",
			meta.Index, c.Records, c.Count(fsm.RowKey), c.Count(fsm.RowSession))
		return err
	}
}

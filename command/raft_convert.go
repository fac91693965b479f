package command

import (
	"fmt"

	"github.com/posener/complete"

	"praetor/rpcserver/recovery"
)

func raftConvert(v *verb) {
	v.operands = []string{"DATA-DIR"}
	v.complete = complete.PredictDirs("*")
	v.help = help{`
Changes how a server that does not run keeps its raft log: as one file, raft.db (boltdb), or as a directory of segments
(wal). Every entry is read, checked, copied and read back before the new log counts; the old one is kept beside it, to be
deleted once the server runs. If raft_logstore.backend is in the configuration, change it too. A conversion that was
stopped can be done again.`,
		[]string{`operator raft convert -to=wal -dry-run /var/lib/praetor`, `operator raft convert -to=wal /var/lib/praetor`,
			`operator raft convert -to=boltdb /var/lib/praetor`},
	}
	to := v.flags.String("to", "", "The `backend` to change to: wal or boltdb.")
	dry := v.flags.Bool("dry-run", false, "Read and check all of the log, and change nothing.")
	v.run = func(operands []string) error {
		if *to == "" {
			return misusef("Say which backend: -to=wal or -to=boltdb")
		}
		c, err := recovery.Convert(operands[0], *to, *dry)
		if err != nil {
			return failf("Cannot convert the log: %v", err)
		}
		entries := "no entries"
		if c.Last > 0 {
			entries = fmt.Sprintf("entries %d to %d", c.First, c.Last)
		}
		if c.Dropped > 0 {
			entries += fmt.Sprintf(" (%d older ones, before a gap that a snapshot covers, are left out)", c.Dropped)
		}
		if *dry {
			_, err = fmt.Fprintf(v.stdout, "%s is whole: %s, term and vote would go to %s\nNothing was written (-dry-run).\n", c.From, entries, c.To)
			return err
		}
		_, err = fmt.Fprintf(v.stdout, "Converted and verified: %s has %s, term and vote\nThe old log is kept: delete %s once the server runs.\n", c.To, entries, c.Kept)
		return err
	}
}

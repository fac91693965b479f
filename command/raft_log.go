package command

import (
	"encoding/json"
	"fmt"
	"math"
	"text/tabwriter"
	"time"

	"github.com/posener/complete"

	"praetor/rpcserver/recovery"
)

func raftLog(v *verb) {
	v.operands = []string{"DATA-DIR"}
	v.complete = complete.PredictDirs("*")
	v.help = help{`
Prints the entries of the raft log in the data directory of a server that does not run: index, term, when the leader
appended it, type, size in bytes, and what it changes. Values are not shown. The log is only read, never changed. An entry
that is damaged is shown as such. Which entries were committed a log does not know: the last ones may never have been.`,
		[]string{`operator raft log /var/lib/praetor`, `operator raft log -from 1200 -to 1300 /var/lib/praetor`,
			`operator raft log -format=json /var/lib/praetor | jq -r 'select(.Op=="delete-tree")'`},
	}
	from := v.flags.Uint64("from", 0, "Begin at this `index`.")
	to := v.flags.Uint64("to", math.MaxUint64, "End with this `index`.")
	v.formats()
	v.run = func(operands []string) error {
		log, unlock, err := recovery.OpenLocked(operands[0])
		if err != nil {
			return failf("Cannot read the log: %v", err)
		}
		defer unlock()
		if v.json() {
			enc := json.NewEncoder(v.stdout)
			enc.SetEscapeHTML(false)
			for e := range log.Describe(*from, *to) {
				if err := enc.Encode(e); err != nil {
					return err
				}
			}
			return nil
		}
		fmt.Fprintf(v.stdout, "Entries %d to %d, current term %d\n\n", log.First, log.Last, log.Term)
		w := tabwriter.NewWriter(v.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "Index\tTerm\tTime\tType\tSize\tWhat")
		lines := 0
		for e := range log.Describe(*from, *to) {
			fmt.Fprintln(w, entryLine(e))
			if lines++; lines%1000 == 0 { // columns are aligned by the thousand, so that memory is bounded
				if err := w.Flush(); err != nil {
					return err
				}
			}
		}
		return w.Flush()
	}
}

func entryLine(e recovery.Entry) string {
	index, term, at := fmt.Sprint(e.Index), "-", "-"
	if e.Last != 0 {
		index = fmt.Sprintf("%d-%d", e.Index, e.Last)
	}
	if e.Term != 0 {
		term = fmt.Sprint(e.Term)
	}
	if e.Time != nil {
		at = e.Time.Format(time.RFC3339)
	}
	what := e.What
	if e.Command != "" {
		what = fmt.Sprintf("%s %s %s", e.Command, dash(e.Op), what)
	}
	if e.Chunk != nil {
		part := fmt.Sprintf("part %d of %d", e.Chunk.Number, e.Chunk.Total)
		if e.Chunk.Whole > 0 {
			part += fmt.Sprintf(", with which %d bytes are whole", e.Chunk.Whole)
		}
		if what != "" {
			part += ": " + what
		}
		what = part
	}
	if e.Damage != "" {
		what = "DAMAGED: " + e.Damage
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%s", index, term, at, e.Type, e.Size, printable([]byte(what)))
}

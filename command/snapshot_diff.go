package command

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/posener/complete"

	"praetor/fsm"
	"praetor/structs"
)

// compared are the types of rows that diff tells apart, in the order in which
// it shows them.
var compared = []string{fsm.RowKey, fsm.RowSession, fsm.RowNode, fsm.RowService, fsm.RowCheck, fsm.RowQuery}

// delta is a row that is not the same in both snapshots.
type delta struct {
	Type, Name string
	Change     string // added, removed or changed
	Before     any    `json:",omitempty"` // with -values
	After      any    `json:",omitempty"`
}

var marks = map[string]string{"added": "+", "removed": "-", "changed": "~"}

func snapshotDiff(v *verb) {
	v.operands = []string{"A", "B"}
	v.complete = complete.PredictFiles("*.snap")
	v.help = help{`
Shows which keys, sessions, nodes, services, checks and prepared queries were added (+), removed (-) or changed (~)
between the snapshots A and B, and how many. What was only written again with the same content is no change. No server
is needed. One of the two may be - for standard input, or a server's own state.bin.

The exit code is 0 whether there is a difference or not, unless -exit-code is given: then it is 2 if there is one.`,
		[]string{`snapshot diff yesterday.snap today.snap`, `snapshot diff -summary yesterday.snap today.snap`,
			`snapshot diff -values -prefix=app/ yesterday.snap today.snap`, `snapshot diff -format=json yesterday.snap today.snap`},
	}
	summary := v.flags.Bool("summary", false, "Show only how many there are.")
	values := v.flags.Bool("values", false, "Show what each of them was and is too.")
	prefix := v.flags.String("prefix", "", "Compare only keys that begin with this `prefix`, and nothing but keys.")
	exitCode := v.flags.Bool("exit-code", false, "Let the exit code be 2 if there is a difference.")
	skip := skipEnterprise(v.flags)
	v.formats()
	v.run = func(operands []string) error {
		if *values && slices.Contains(operands, "-") {
			return misusef("-values reads each file twice: standard input cannot be read again")
		}
		if operands[0] == "-" && operands[1] == "-" {
			return misusef("Only one of the two can be read from standard input")
		}
		var files [2]*snapshotFile
		for i, path := range operands {
			var err error
			if files[i], err = v.openSnapshot(path, *skip); err != nil {
				return fmt.Errorf("reading %s: %w", path, err)
			}
		}
		wanted := func(row fsm.Row) bool {
			if *prefix != "" {
				return row.Type == fsm.RowKey && strings.HasPrefix(row.Name, *prefix)
			}
			return slices.Contains(compared, row.Type)
		}
		deltas, err := compare(files, wanted)
		if err != nil {
			return err
		}
		for _, file := range files {
			v.tellDropped(file.path, file.dropped)
		}
		if *values {
			if err := fill(files, deltas); err != nil {
				return err
			}
		}
		if err := v.printDeltas(deltas, *summary); err != nil {
			return err
		}
		if *exitCode && len(deltas) > 0 {
			return exit(2)
		}
		return nil
	}
}

type rowID struct{ kind, name string }

// digest stands for the content of a row.
type digest [16]byte

func digestOf(row fsm.Row) (digest, error) {
	b, err := structs.AppendValue(nil, row.Content())
	sum := sha256.Sum256(b)
	return digest(sum[:16]), err
}

// compare reads both files once. It keeps a name and a digest of each row of the
// first, and what differs.
func compare(files [2]*snapshotFile, wanted func(fsm.Row) bool) ([]delta, error) {
	before := map[rowID]digest{}
	_, err := files[0].rows(func(row fsm.Row) error {
		if !wanted(row) {
			return nil
		}
		d, err := digestOf(row)
		before[rowID{row.Type, row.Name}] = d
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", files[0].path, err)
	}
	deltas := []delta{}
	_, err = files[1].rows(func(row fsm.Row) error {
		if !wanted(row) {
			return nil
		}
		d, err := digestOf(row)
		id := rowID{row.Type, row.Name}
		if was, there := before[id]; !there {
			deltas = append(deltas, delta{Type: row.Type, Name: row.Name, Change: "added"})
		} else if was != d {
			deltas = append(deltas, delta{Type: row.Type, Name: row.Name, Change: "changed"})
		}
		delete(before, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", files[1].path, err)
	}
	for id := range before {
		deltas = append(deltas, delta{Type: id.kind, Name: id.name, Change: "removed"})
	}
	slices.SortFunc(deltas, func(a, b delta) int {
		return cmp.Or(cmp.Compare(slices.Index(compared, a.Type), slices.Index(compared, b.Type)), cmp.Compare(a.Name, b.Name))
	})
	return deltas, nil
}

// fill reads the files again for what the rows that differ were and are.
func fill(files [2]*snapshotFile, deltas []delta) error {
	at := make(map[rowID]*delta, len(deltas))
	for i := range deltas {
		at[rowID{deltas[i].Type, deltas[i].Name}] = &deltas[i]
	}
	for i, file := range files {
		_, err := file.rows(func(row fsm.Row) error {
			if d := at[rowID{row.Type, row.Name}]; d != nil && i == 0 {
				d.Before = row.Data
			} else if d != nil {
				d.After = row.Data
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", file.path, err)
		}
	}
	return nil
}

func (v *verb) printDeltas(deltas []delta, summary bool) error {
	counts := map[string]map[string]int{}
	for _, d := range deltas {
		if counts[d.Type] == nil {
			counts[d.Type] = map[string]int{"added": 0, "removed": 0, "changed": 0}
		}
		counts[d.Type][d.Change]++
	}
	if v.json() {
		out := struct {
			Summary map[string]map[string]int
			Changes []delta `json:",omitempty"`
		}{Summary: counts}
		if !summary {
			out.Changes = deltas
		}
		return v.printJSON(out)
	}
	var text bytes.Buffer
	if !summary {
		for _, d := range deltas {
			fmt.Fprintf(&text, "%s %s %s\n", marks[d.Change], d.Type, d.Name)
			describe(&text, "-", d.Before)
			describe(&text, "+", d.After)
		}
	}
	for _, kind := range compared {
		if n := counts[kind]; n != nil {
			fmt.Fprintf(&text, "%s: %d added, %d removed, %d changed\n", kind, n["added"], n["removed"], n["changed"])
		}
	}
	if len(deltas) == 0 {
		text.WriteString("No difference\n")
	}
	_, err := v.stdout.Write(text.Bytes())
	return err
}

// describe shows a key by its value, and any other row as JSON.
func describe(out *bytes.Buffer, mark string, data any) {
	if data == nil {
		return
	}
	text := ""
	if e, isKey := data.(*structs.DirEntry); isKey {
		text = dash(printable(e.Value))
		if e.Flags != 0 {
			text += fmt.Sprintf(" (flags %d)", e.Flags)
		}
		if e.Session != "" {
			text += " (locked by " + e.Session + ")"
		}
	} else if b, err := json.Marshal(data); err == nil {
		text = string(b)
	}
	fmt.Fprintf(out, "    %s %s\n", mark, text)
}

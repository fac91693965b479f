package command

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posener/complete"

	"praetor/fsm"
	"praetor/structs"
)

func snapshotGet(v *verb) {
	v.operands = []string{"FILE", "KEY"}
	v.complete = complete.PredictFiles("*.snap")
	v.help = help{`
Prints the value of KEY as it is in the snapshot in FILE, byte for byte and with nothing after it. The file is checked to
its end before anything is printed. No server is needed. FILE may be - for standard input, or state.bin as for inspect.
The exit code is 1 if there is no such key.`,
		[]string{`snapshot get backup.snap app/config`, `snapshot get -detailed backup.snap app/config`,
			`snapshot get backup.snap app/config | praetor kv put app/config -`},
	}
	detailed := v.flags.Bool("detailed", false, "Show what else there is to know of the key too.")
	base64ed := v.flags.Bool("base64", false, "Print the value in base64.")
	v.run = func(operands []string) error {
		file, err := v.openSnapshot(operands[0], true)
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
		name := trimKey(operands[1:])
		var found *structs.DirEntry
		_, err = file.records(func(rec fsm.Record) error {
			if rec.Kind != structs.KVSRequestType {
				return nil
			}
			var entry structs.DirEntry
			if err := structs.DecodeValue(rec.Value, &entry); err != nil {
				return err
			}
			if entry.Key == name {
				found = &entry
			}
			return nil
		})
		switch {
		case err != nil:
			return fmt.Errorf("reading snapshot: %w", err)
		case found == nil:
			return failf("Error! No key exists at: %s", name)
		}
		value := found.Value
		if *base64ed {
			value = []byte(base64.StdEncoding.EncodeToString(value))
		}
		if *detailed {
			return v.printTable([][]string{
				{"CreateIndex", fmt.Sprint(found.CreateIndex)}, {"Flags", fmt.Sprint(found.Flags)}, {"Key", found.Key},
				{"LockIndex", fmt.Sprint(found.LockIndex)}, {"ModifyIndex", fmt.Sprint(found.ModifyIndex)}, {"Session", dash(found.Session)},
				{"TTL", found.TTL.String()}, {"Value", string(value)},
			})
		}
		_, err = v.stdout.Write(value)
		return err
	}
}

func snapshotExport(v *verb) {
	v.operands = []string{"FILE", "[PREFIX]"}
	v.complete = complete.PredictFiles("*.snap")
	v.help = help{`
Prints everything in the snapshot in FILE as lines of JSON, {"Type":…,"Name":…,"Data":…}, in the snapshot's order; with
PREFIX, the keys that begin with it. Types are key, tombstone, node, service, check, session, coordinate, query,
autopilot, metadata and index; for what Praetor does not serve, the name of the record's type. Data are as in the HTTP
API, so values of keys are in base64.

With -kv only keys are printed, as the JSON array that "praetor kv import" reads. The file has been checked as a whole
only when the exit code is 0, or 2: then some keys are no UTF-8 text, which JSON cannot show as it is. FILE may be - for
standard input, or state.bin as for inspect.`,
		[]string{`snapshot export backup.snap | jq -c 'select(.Type=="session").Data'`,
			`snapshot export -kv backup.snap app/ > app.json && praetor kv import @app.json`}}
	kv := v.flags.Bool("kv", false, "Print keys alone, in the form of kv import.")
	skip := skipEnterprise(v.flags)
	v.run = func(operands []string) error {
		file, err := v.openSnapshot(operands[0], *skip)
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
		out := bufio.NewWriter(v.stdout)
		print := exportLines(out)
		if *kv {
			print = exportArray(out)
		}
		prefix := trimKey(operands[1:])
		mangled := 0
		_, err = file.rows(func(row fsm.Row) error {
			if prefix != "" && (row.Type != fsm.RowKey || !strings.HasPrefix(row.Name, prefix)) {
				return nil
			}
			if row.Type == fsm.RowKey && !utf8.ValidString(row.Name) {
				mangled++
			}
			return print(&row)
		})
		if err == nil {
			err = print(nil)
		}
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
		v.tellDropped(operands[0], file.dropped)
		if mangled > 0 {
			fmt.Fprintf(v.stderr, "Not as they are, because JSON has only text: the names of %d keys. They are no UTF-8.\n", mangled)
			return exit(2)
		}
		return nil
	}
}

// exportLines prints a row as a line; nil ends the output.
func exportLines(out *bufio.Writer) func(*fsm.Row) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return func(row *fsm.Row) error {
		if row == nil {
			return nil
		}
		line := struct {
			Type string
			Name string `json:",omitempty"`
			Data any
		}{row.Type, row.Name, row.Data}
		if raw, carried := row.Data.([]byte); carried {
			var data any
			if err := structs.DecodeValue(raw, &data); err != nil {
				return err
			}
			line.Data = showable(data)
		}
		if _, chunks := row.Data.(*structs.ChunkingState); chunks {
			return nil // parts of writes that are not done: nothing that is there
		}
		return enc.Encode(line)
	}
}

// exportArray prints keys as elements of an array; nil ends the output.
func exportArray(out *bufio.Writer) func(*fsm.Row) error {
	lead := "[\n\t"
	return func(row *fsm.Row) error {
		if row == nil {
			end := "\n]\n"
			if lead == "[\n\t" {
				end = "[]\n"
			}
			_, err := out.WriteString(end)
			return err
		}
		if row.Type != fsm.RowKey {
			return nil
		}
		e := row.Data.(*structs.DirEntry)
		text, err := json.MarshalIndent(exported{e.Key, e.Flags, append([]byte{}, e.Value...)}, "\t", "\t")
		if err != nil {
			return err
		}
		_, _ = out.WriteString(lead)
		lead = ",\n\t"
		_, err = out.Write(text)
		return err
	}
}

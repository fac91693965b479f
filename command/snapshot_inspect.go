package command

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/hashicorp/raft"
	"github.com/posener/complete"

	"praetor/fsm"
	"praetor/structs"
)

// tally is how many records of one kind there are, and their bytes.
type tally struct {
	Name  string
	Sum   int64
	Count int
}

// inspection is what inspect prints, with -format=json as it is here.
type inspection struct {
	Meta struct {
		ID      string
		Size    int64
		Index   uint64
		Term    uint64
		Version raft.SnapshotVersion
	}
	Stats                  []tally
	StatsKV                []tally
	Largest                []tally `json:",omitempty"` // keys
	TotalSize, TotalSizeKV int64
}

func snapshotInspect(v *verb) {
	v.operands = []string{"FILE"}
	v.complete = complete.PredictFiles("*")
	v.help = help{`
Shows where and when the snapshot in FILE was taken, and how many records of each type it holds, with their bytes.
FILE may be - for standard input, or a server's own state.bin, next to its meta.json in the data directory.`,
		[]string{`snapshot inspect backup.snap`, `snapshot inspect -kvdetails -kvdepth=3 -kvfilter=app/ backup.snap`,
			`snapshot inspect -largest=10 backup.snap`, `snapshot inspect -format=json backup.snap`, `snapshot inspect /var/lib/praetor/raft/snapshots/2-777-1700000000000/state.bin`},
	}
	details := v.flags.Bool("kvdetails", false, "Count keys by their first -kvdepth parts too.")
	depth := v.flags.Int("kvdepth", 2, "The `number` of parts, between slashes, that -kvdetails tells apart.")
	filter := v.flags.String("kvfilter", "", "Let -kvdetails count only keys that begin with this `prefix`.")
	most := v.flags.Int("largest", 0, "Show this `number` of the largest keys.")
	skip := skipEnterprise(v.flags)
	v.formats()
	v.run = func(operands []string) error {
		if *depth < 1 {
			return misusef("-kvdepth must be at least 1")
		}
		if *most < 0 {
			return misusef("-largest cannot be less than 0")
		}
		kinds, prefixes := map[string]*tally{}, map[string]*tally{}
		dropped := structs.Dropped{}
		largest := ranking{limit: *most}
		meta, err := v.readSnapshot(operands[0], func(rec fsm.Record) error {
			bytes := int64(1 + len(rec.Value))
			if rec.Kind.Enterprise() && *skip {
				dropped[rec.Kind]++
				return nil
			}
			count(kinds, rec.Kind.String(), bytes)
			if rec.Kind != structs.KVSRequestType || !*details && *filter == "" && *most == 0 {
				return nil
			}
			var entry struct{ Key string }
			if err := structs.DecodeValue(rec.Value, &entry); err != nil {
				return err
			}
			if strings.HasPrefix(entry.Key, *filter) {
				parts := strings.Split(entry.Key, "/")
				largest.add(entry.Key, bytes)
				count(prefixes, strings.Join(parts[:min(*depth, len(parts))], "/"), bytes)
			}
			return nil
		}, nil)
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
		var in inspection
		in.Meta.ID, in.Meta.Size, in.Meta.Index, in.Meta.Term, in.Meta.Version = meta.ID, meta.Size, meta.Index, meta.Term, meta.Version
		in.Stats, in.TotalSize = largestFirst(kinds)
		if in.StatsKV = []tally{}; *details || *filter != "" {
			in.StatsKV, in.TotalSizeKV = largestFirst(prefixes)
		}
		in.Largest = largest.tallies
		v.tellDropped(operands[0], dropped)
		if v.json() {
			return v.printJSON(in)
		}
		return in.print(v.stdout, *details || *filter != "")
	}
}

func count(tallies map[string]*tally, name string, bytes int64) {
	t := tallies[name]
	if t == nil {
		t = &tally{Name: name}
		tallies[name] = t
	}
	t.Count++
	t.Sum += bytes
}

func largestFirst(tallies map[string]*tally) (rows []tally, total int64) {
	rows = []tally{}
	for _, t := range tallies {
		rows = append(rows, *t)
		total += t.Sum
	}
	slices.SortFunc(rows, func(a, b tally) int { return cmp.Or(cmp.Compare(b.Sum, a.Sum), cmp.Compare(a.Name, b.Name)) })
	return rows, total
}

// ranking keeps the largest of many, largest first.
type ranking struct {
	limit   int
	tallies []tally
}

func (r *ranking) add(name string, bytes int64) {
	if len(r.tallies) == r.limit {
		if r.limit == 0 || bytes <= r.tallies[r.limit-1].Sum {
			return
		}
		r.tallies = r.tallies[:r.limit-1]
	}
	at, _ := slices.BinarySearchFunc(r.tallies, bytes, func(t tally, bytes int64) int {
		if t.Sum >= bytes { // of equal ones, the first in the stream goes first
			return -1
		}
		return 1
	})
	r.tallies = slices.Insert(r.tallies, at, tally{Name: name, Sum: bytes, Count: 1})
}

func (in *inspection) print(out io.Writer, keys bool) error {
	w := tabwriter.NewWriter(out, 8, 8, 6, ' ', 0)
	m := &in.Meta
	fmt.Fprintf(w, " ID\t%s\n Size\t%d\n Index\t%d\n Term\t%d\n Version\t%d\n", m.ID, m.Size, m.Index, m.Term, m.Version)
	table := func(heading string, rows []tally, total int64) {
		fmt.Fprintf(w, "\n %s\tCount\tSize\n %s\t----\t----\n", heading, "----")
		for _, t := range rows {
			fmt.Fprintf(w, " %s\t%d\t%s\n", t.Name, t.Count, size(t.Sum))
		}
		fmt.Fprintf(w, " ----\t----\t----\n Total\t\t%s\n", size(total))
	}
	table("Type", in.Stats, in.TotalSize)
	if keys {
		table("Key Name", in.StatsKV, in.TotalSizeKV)
	}
	if len(in.Largest) > 0 {
		fmt.Fprint(w, "\n Largest Keys\tSize\n ----\t----\n")
		for _, t := range in.Largest {
			fmt.Fprintf(w, " %s\t%s\n", t.Name, size(t.Sum))
		}
	}
	return w.Flush()
}

// readSnapshot reads the file, - or state.bin at path and hands over its header
// and records as they come.
func (v *verb) readSnapshot(path string, record func(fsm.Record) error, header func(structs.SnapshotHeader) error) (*raft.SnapshotMeta, error) {
	use := func(state io.Reader) error {
		h, records := fsm.Records(state)
		if header != nil {
			if err := header(h); err != nil {
				return err
			}
		}
		for rec, err := range records {
			if err == nil {
				err = record(rec)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	file, err := v.openSnapshot(path, false)
	if err != nil {
		return nil, err
	}
	return file.stream(use)
}

func snapshotDecode(v *verb) {
	v.operands = []string{"FILE"}
	v.complete = complete.PredictFiles("*")
	v.help = help{`
Prints every record of the snapshot in FILE as one line of JSON, {"Data":…,"Type":…}; the first is the header. Bytes
that are no UTF-8 text are shown as {"base64":"…"}. FILE may be - for standard input, or state.bin as for inspect. The
file has been checked as a whole only when the exit code is 0.`,
		[]string{`snapshot decode backup.snap | jq -r 'select(.Type=="KVS").Data.Key'`, `snapshot decode - < backup.snap | wc -l`},
	}
	v.run = func(operands []string) error {
		out := bufio.NewWriter(v.stdout)
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		line := func(kind string, data any) error { return enc.Encode(map[string]any{"Type": kind, "Data": data}) }
		_, err := v.readSnapshot(operands[0], func(rec fsm.Record) error {
			var data any
			if err := structs.DecodeValue(rec.Value, &data); err != nil {
				return err
			}
			return line(rec.Kind.String(), showable(data))
		}, func(h structs.SnapshotHeader) error { return line("SnapshotHeader", h) })
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
		return nil
	}
}

// showable is v with nothing in it that JSON cannot show.
func showable(v any) any {
	switch v := v.(type) {
	case string:
		if !utf8.ValidString(v) {
			return map[string][]byte{"base64": []byte(v)}
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	case []any:
		for i := range v {
			v[i] = showable(v[i])
		}
	case map[string]any:
		for k := range maps.Keys(v) {
			v[k] = showable(v[k])
		}
	case map[any]any:
		named := make(map[string]any, len(v))
		for k := range v {
			named[fmt.Sprint(k)] = showable(v[k])
		}
		return named
	}
	return v
}

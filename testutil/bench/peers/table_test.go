package peers

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"praetor/testutil/bench"
)

// aim is what a row should reach.
type aim struct {
	text string
	kept func(ours, ratio float64) bool
}

func atLeast(x float64) aim {
	return aim{fmt.Sprintf("at least %g ×", x), func(_, ratio float64) bool { return ratio >= x }}
}

func atMost(x float64) aim {
	return aim{fmt.Sprintf("at most %g ×", x), func(_, ratio float64) bool { return ratio <= x }}
}

// within is an aim that is no ratio.
func within(x float64, unit string) aim {
	return aim{fmt.Sprintf("at most %g %s", x, unit), func(ours, _ float64) bool { return ours <= x }}
}

// table collects the lines of both tables.
type table struct{ lines, loads []string }

// add adds a line to the first table. The peer is etcd, or what the row's name says; 0 means that there is none.
func (t *table) add(measure, format string, ours, peer float64, aims ...aim) {
	ratio, beside := 0.0, ""
	text := ""
	if peer != 0 {
		ratio, beside = ours/peer, fmt.Sprintf(format, peer)
		text = fmt.Sprintf("%.2f", ratio)
	}
	var aimed, kept string
	for _, a := range aims {
		aimed, kept = a.text, "yes"
		if !a.kept(ours, ratio) {
			kept = "**no**"
		}
	}
	t.lines = append(t.lines, strings.Join([]string{"| " + measure, fmt.Sprintf(format, ours), beside, text, aimed, kept + "\t|"}, "\t| "))
}

// load adds a line to the second table, of everything that was counted.
func (t *table) load(row, who string, all []bench.Result) {
	m := bench.MedianResult(all)
	low, high := m.PerSecond, m.PerSecond
	for _, r := range all {
		low, high = min(low, r.PerSecond), max(high, r.PerSecond)
	}
	t.loads = append(t.loads, fmt.Sprintf("| %s\t| %s\t| %.0f\t| %.0f - %.0f\t| %.1f\t| %.1f\t|", row, who, m.PerSecond, low, high, bench.Micros(m.Peer), bench.Micros(m.Own)))
}

func (t *table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "\n| measure\t| ours\t| etcd's\t| ratio\t| aim\t| kept\t|\n|---\t|---:\t|---:\t|---:\t|---\t|---\t|")
	for _, line := range t.lines {
		fmt.Fprintln(w, line)
	}
	w.Flush()
	if len(t.loads) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| load\t| on\t| per second\t| of the rounds\t| server CPU µs\t| client CPU µs\t|\n|---\t|---\t|---:\t|---:\t|---:\t|---:\t|")
	for _, line := range t.loads {
		fmt.Fprintln(w, line)
	}
	w.Flush()
}

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// report is what came out, area by area.
type report struct {
	version string
	rows    []row
}

// row is one area: the names of its tests by what became of them.
type row struct {
	area    string
	passed  []string
	failed  []string
	skipped []string
	leftOut []string
	results map[string]*result
}

// newRow sorts the tests of an area. One that was to run and has no outcome has failed.
func newRow(name string, tests []string, results map[string]*result) row {
	r := row{area: name, results: results}
	for _, test := range tests {
		res := results[test]
		switch {
		case leftOut[test] != "":
			r.leftOut = append(r.leftOut, test)
		case res == nil || res.outcome == failed || res.outcome == "":
			r.failed = append(r.failed, test)
		case res.outcome == skipped:
			r.skipped = append(r.skipped, test)
		default:
			r.passed = append(r.passed, test)
		}
	}
	return r
}

func (r row) total() int { return len(r.passed) + len(r.failed) + len(r.skipped) + len(r.leftOut) }

// why says why a test failed: what we know, or else the last thing it said itself.
func (r row) why(test string) string {
	res := r.results[test]
	switch {
	case known[test] != "":
		return known[test]
	case res == nil:
		return "it was not run"
	case res.outcome == "":
		return "it did not finish"
	}
	return res.lastRemark()
}

// problems are everything but tests that passed or were left out. Known failures are none if they are allowed.
func (p *report) problems(allowKnown bool) []string {
	var found []string
	for _, r := range p.rows {
		for _, test := range r.failed {
			if known[test] == "" || !allowKnown {
				found = append(found, test+" failed: "+r.why(test))
			}
		}
		for _, test := range r.passed {
			if known[test] != "" {
				found = append(found, test+" is known to fail, and passed: take it off that list")
			}
		}
		for _, test := range r.skips() {
			found = append(found, test+" was skipped: "+r.whySkipped(test))
		}
	}
	return found
}

// markdown is the part of docs/compatibility.md that is ours to write. It holds nothing that differs between two runs
// with the same outcome.
func (p *report) markdown() string {
	var b, lists strings.Builder
	fmt.Fprintf(&b, "Tests of `%s` %s:\n\n| area | passed | failed | skipped | total | left out |\n|---|---|---|---|---|---|\n", clientPackage, p.version)
	sum := row{area: "all"}
	for _, r := range p.rows {
		r.line(&b)
		sum.passed = append(sum.passed, r.passed...)
		sum.failed = append(sum.failed, r.failed...)
		sum.skipped = append(sum.skipped, r.skipped...)
		sum.leftOut = append(sum.leftOut, r.leftOut...)
	}
	sum.line(&b)
	section(&lists, "Failed", p.rows, func(r row) []string { return r.failed }, row.why)
	section(&lists, "Skipped, in whole or in part", p.rows, row.skips, row.whySkipped)
	section(&lists, "Left out", p.rows, func(r row) []string { return r.leftOut }, func(_ row, test string) string { return string(leftOut[test]) })
	return b.String() + lists.String()
}

func (r row) line(b *strings.Builder) {
	fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d |\n", r.area, len(r.passed), len(r.failed), len(r.skipped), r.total(), len(r.leftOut))
}

// skips are the tests and subtests that were skipped.
func (r row) skips() []string {
	var names []string
	for _, res := range r.results {
		names = append(names, res.skips...)
	}
	slices.Sort(names)
	return names
}

// whySkipped is the last thing a test said; what a subtest said is not kept apart.
func (r row) whySkipped(test string) string {
	name, _, _ := strings.Cut(test, "/")
	return r.results[name].lastRemark()
}

func section(b *strings.Builder, title string, rows []row, pick func(row) []string, why func(row, string) string) {
	fmt.Fprintf(b, "\n%s:", title)
	none := true
	for _, r := range rows {
		for _, test := range pick(r) {
			if none {
				b.WriteString("\n\n")
			}
			none = false
			fmt.Fprintf(b, "- %s: %s\n", "`"+test+"`", why(r, test))
		}
	}
	if none {
		b.WriteString(" none.\n")
	}
}

const (
	begin = "<!-- written by make acceptance: begin -->\n"
	end   = "<!-- end -->\n"
)

// replacePart puts text between our two marks in a document.
func replacePart(document, text string) (string, error) {
	before, rest, found := strings.Cut(document, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("no place marked %q and %q", begin, end)
	}
	return before + begin + text + end + after, nil
}

func writeInto(file, text string) error {
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed, err := replacePart(string(document), text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}

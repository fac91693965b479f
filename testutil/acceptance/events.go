package main

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
)

// outcome is how a test ended; empty if it did not.
type outcome string

const (
	passed  outcome = "pass"
	failed  outcome = "fail"
	skipped outcome = "skip"
)

// result is one test with its subtests.
type result struct {
	outcome outcome
	output  strings.Builder
	skips   []string // the subtests, or the test itself, that were skipped
}

// readEvents reads what test2json prints, up to its end, into results by the name of the test.
func readEvents(r io.Reader, log io.Writer) (map[string]*result, error) {
	results := map[string]*result{}
	for d := json.NewDecoder(r); ; {
		var event struct{ Action, Test, Output string }
		if err := d.Decode(&event); errors.Is(err, io.EOF) {
			return results, nil
		} else if err != nil {
			return results, err
		}
		if _, err := io.WriteString(log, event.Output); err != nil {
			return results, err
		}
		test, sub, _ := strings.Cut(event.Test, "/")
		if test == "" {
			continue
		}
		if results[test] == nil {
			results[test] = &result{}
		}
		res := results[test]
		res.output.WriteString(event.Output)
		switch o := outcome(event.Action); o {
		case passed, failed, skipped:
			if sub == "" {
				res.outcome = o
			}
			if o == skipped {
				res.skips = append(res.skips, event.Test)
			}
		}
	}
}

// said matches a line in which a test says something, and not the server that it has started.
var said = regexp.MustCompile(`^\s+(\w+\.go:\d+: |Error:|Messages:|expected: |actual  : )|^\s+\t +\t\S|^panic: `)

// remarks are the last few things a test said.
func (r *result) remarks() []string {
	const most = 8
	var lines []string
	for line := range strings.Lines(r.output.String()) {
		noise := strings.Contains(line, ": CONFIG JSON: ") || strings.Contains(line, ": test cmd args: ")
		if line = strings.TrimRight(line, "\n"); !noise && said.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines[max(0, len(lines)-most):]
}

// lastRemark is the last of them.
func (r *result) lastRemark() string {
	if all := r.remarks(); len(all) > 0 {
		return all[len(all)-1]
	}
	return "it says nothing about it"
}

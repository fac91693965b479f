// Command acceptance runs the official Go client's own tests against the praetor binary and writes what came out into
// docs/compatibility.md. `make acceptance` runs it from the root of the module.
//
// Nothing of the client is kept here: package suite pins its version, and its tests are compiled from the module cache.
// They start servers by running `consul` from the path, which is the program in package shim. Which tests are run, and
// which are not and why, stands in areas.go. Tests are run once: there are no retries but those that the tests make.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	document = "docs/compatibility.md"
	logs     = "data/acceptance" // whole output, a file for each area
)

func main() {
	only := flag.String("areas", "", "run only these `areas`, with commas between them, and write nothing into "+document)
	parallel := flag.Int("parallel", 4, "how `many` tests run side by side")
	allowKnown := flag.Bool("allow-known", false, "succeed if only tests that are known to fail have failed")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := accept(ctx, *only, *parallel, *allowKnown); err != nil {
		fmt.Fprintf(os.Stderr, "acceptance: %v\n", err)
		os.Exit(1)
	}
}

func accept(ctx context.Context, only string, parallel int, allowKnown bool) (err error) {
	s, err := loadSuite()
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	w, err := setUp()
	if w != nil {
		defer func() { err = errors.Join(err, w.remove()) }()
	}
	if err != nil {
		return err
	}

	report := &report{version: s.version}
	for _, a := range chosen {
		row, err := w.runArea(ctx, s, a, parallel)
		if err != nil {
			return fmt.Errorf("area %s: %w", a.name, err)
		}
		report.rows = append(report.rows, row)
	}
	text := report.markdown()
	fmt.Printf("\n%s", text)
	if only == "" {
		if err := writeInto(document, text); err != nil {
			return err
		}
	}
	if problems := report.problems(allowKnown); len(problems) > 0 {
		return fmt.Errorf("%s\n%d of these; all output is in %s", strings.Join(problems, "\n"), len(problems), logs)
	}
	return nil
}

// choose finds areas by their names; none means all.
func choose(names string) ([]area, error) {
	if names == "" {
		return areas, nil
	}
	var chosen []area
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(areas, func(a area) bool { return strings.EqualFold(a.name, strings.TrimSpace(name)) })
		if i < 0 {
			return nil, fmt.Errorf("there is no area %q", name)
		}
		chosen = append(chosen, areas[i])
	}
	return chosen, nil
}

// runArea runs an area and prints how it went.
func (w *workshop) runArea(ctx context.Context, s *suite, a area, parallel int) (row, error) {
	all, err := s.of(a)
	if err != nil {
		return row{}, err
	}
	selected := slices.DeleteFunc(slices.Clone(all), func(test string) bool { return leftOut[test] != "" })
	start := time.Now()
	results, err := w.run(ctx, s, selected, parallel, filepath.Join(logs, a.name+".log"))
	if err != nil {
		return row{}, err
	}
	r := newRow(a.name, all, results)
	fmt.Printf("%-13s %3d passed %3d failed %3d skipped %3d left out %6.1f s\n", a.name,
		len(r.passed), len(r.failed), len(r.skipped), len(r.leftOut), time.Since(start).Seconds())
	for _, test := range r.failed {
		fmt.Printf("    %s: %s\n", test, r.why(test))
		if res := results[test]; res != nil && known[test] == "" {
			for _, line := range res.remarks() {
				fmt.Printf("        %s\n", line)
			}
		}
	}
	return r, nil
}

package main

import (
	"context"
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

func main() {
	only := flag.String("fault", "", "plant only the faults of these `names`, with commas between them")
	list := flag.Bool("list", false, "say what there is to plant, and do nothing")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *list {
		for _, f := range faults {
			fmt.Printf("%-28s %s\n", f.name, f.breaks)
		}
		return
	}
	if err := run(ctx, *only); err != nil {
		fmt.Fprintf(os.Stderr, "planted: %v\n", err)
		os.Exit(1)
	}
}

// run tries the faults and prints the table. Survivors are no error: they are
// what the table is for.
func run(ctx context.Context, only string) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return fmt.Errorf("run it from the root of the module: %w", err)
	}
	temp, err := os.MkdirTemp("", "planted-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for i := range chosen {
		if err := chosen[i].compile(ctx, root, temp); err != nil {
			return err
		}
	}
	var table strings.Builder
	table.WriteString("| fault | what goes wrong | found by | after |\n|---|---|---|---|\n")
	caught := 0
	for i := range chosen {
		by, found, err := hunt(ctx, &chosen[i], root, temp)
		if err != nil {
			return fmt.Errorf("fault %s: %w", chosen[i].name, err)
		}
		line := row(&chosen[i], by, found)
		fmt.Print(line)
		table.WriteString(line)
		if found != nil {
			fmt.Printf("    %s\n", strings.ReplaceAll(found.said, "\n", "\n    "))
			caught++
		}
	}
	fmt.Printf("\n%s\n%d of %d faults were found\n", table.String(), caught, len(chosen))
	return nil
}

// choose returns the faults to plant, all of them if only is empty.
func choose(only string) (chosen []fault, err error) {
	if only == "" {
		return faults, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q: -list names them", name)
		}
		chosen = append(chosen, faults[i])
	}
	return chosen, nil
}

// hunt plants a fault and tries the instruments until one finds it.
func hunt(ctx context.Context, f *fault, root, temp string) (*instrument, *finding, error) {
	overlay := overlayOf(f, temp)
	var took time.Duration
	for i := range instruments {
		if err := instruments[i].prove(ctx, root, temp); err != nil {
			return nil, nil, err
		}
		if instruments[i].skipped {
			continue
		}
		began := time.Now()
		found, err := instruments[i].try(ctx, root, temp, overlay)
		if err != nil {
			return nil, nil, err
		}
		took += time.Since(began)
		if found != nil {
			found.after = took
			return &instruments[i], found, nil
		}
	}
	return nil, nil, nil
}

func row(f *fault, by *instrument, found *finding) string {
	if found == nil {
		return fmt.Sprintf("| `%s` | %s | **survived** | |\n", f.name, f.breaks)
	}
	return fmt.Sprintf("| `%s` | %s | %s: `%s` | %.0f s |\n", f.name, f.breaks, by.kind, found.test, found.after.Seconds())
}

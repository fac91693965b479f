package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"praetor/agent/backup"
	"praetor/agent/backup/journal"
)

// pointFlags say which moment between two backups is wanted.
type pointFlags struct {
	index   *uint64
	time    *string
	before  *string
	first   *bool
	listing *bool
	end     *bool
	chain   *string
	file    *string
}

func newPointFlags(flags *flag.FlagSet) *pointFlags {
	return &pointFlags{
		index:   flags.Uint64("to-index", 0, "The state with everything up to this raft `index`."),
		time:    flags.String("to-time", "", "The state with everything that was written up to this `time`, in the forms that log takes."),
		before:  flags.String("before", "", "The state just before this `command` was last written: \"delete-tree app/\", \"set app/a\", as log shows it."),
		first:   flags.Bool("first", false, "With -before, the first time and not the last."),
		listing: flags.Bool("list", false, "With -before, show when that command was written, and change nothing."),
		end:     flags.Bool("to-end", false, "The newest backup with all of the archived log."),
		chain:   flags.String("chain", "", "Which history is meant, if several have the index: a `chain` that log -format=json shows."),
		file:    flags.String("to-file", "", "Write the state to this snapshot `file`, and change nothing."),
	}
}

// given reports whether a moment is asked for, or something that goes with one:
// -list alone must never restore anything.
func (f *pointFlags) given() bool {
	return *f.index != 0 || *f.time != "" || *f.before != "" || *f.end || *f.first || *f.listing || *f.chain != ""
}

// indexIsZero reports whether -to-index=0 was said, which is no index and must not
// mean the newest backup.
func (f *pointFlags) indexIsZero(set *flag.FlagSet) (zero bool) {
	set.Visit(func(given *flag.Flag) { zero = zero || given.Name == "to-index" && *f.index == 0 })
	return zero
}

// point finds the moment. done: it has been shown, and nothing more is wanted.
func (v *verb) point(f *pointFlags, source *targetFlags) (p journal.Point, done bool, err error) {
	count := 0
	for _, given := range []bool{*f.index != 0, *f.time != "", *f.before != "", *f.end} {
		if given {
			count++
		}
	}
	if count > 1 {
		return p, false, misusef("-to-index, -to-time, -before and -to-end exclude each other")
	}
	if (*f.first || *f.listing) && *f.before == "" {
		return p, false, misusef("-first and -list go with -before")
	}
	if count == 0 {
		return p, false, misusef("-chain goes with -to-index, -to-time, -before or -to-end")
	}
	p = journal.Point{Index: *f.index, Chain: *f.chain}
	if p.Time, err = upTo(*f.time); err != nil || *f.before == "" {
		return p, false, err
	}
	// A command on the empty key is shown with nothing behind it.
	command := *f.before
	if !strings.Contains(command, " ") {
		command += " "
	}
	found, damage, err := v.changes(source, journal.Filter{Command: command}, true)
	if err != nil {
		return p, false, err
	}
	if *f.chain != "" {
		found = slices.DeleteFunc(found, func(c journal.Change) bool { return !strings.HasPrefix(*f.chain, c.Chain) })
	}
	for _, d := range damage {
		fmt.Fprintf(v.stderr, "Not looked at: %v\n", d)
	}
	if *f.listing {
		return p, true, v.printChanges(found)
	}
	if len(damage) > 0 {
		return p, false, failf("Part of the archived log cannot be read, and %q may stand there: -list shows where else it does, -to-index takes the moment.", *f.before)
	}
	if len(found) == 0 {
		return p, false, failf("There is no %q in the archived log: \"praetor backup log\" shows what there is.", *f.before)
	}
	change := found[len(found)-1]
	if *f.first {
		change = found[0]
	}
	fmt.Fprintf(v.stdout, "%q was written at index %d, %s.\n", *f.before, change.Index, shownTime(change.Time))
	if len(found) > 1 {
		fmt.Fprintf(v.stdout, "It was written %d times; -list shows when.\n", len(found))
	}
	return journal.Point{Index: change.Index - 1, Chain: change.Chain}, false, nil
}

// restorePoint builds the state at a moment, and puts it into a file or into the
// cluster.
func (v *verb) restorePoint(f *pointFlags, source *targetFlags) error {
	p, done, err := v.point(f, source)
	if err != nil || done {
		return err
	}
	target, err := source.open()
	if err != nil {
		return err
	}
	path := *f.file
	if path == "" {
		dir, err := os.MkdirTemp("", "praetor-restore-")
		if err != nil {
			return fmt.Errorf("building the state: %w", err)
		}
		defer os.RemoveAll(dir)
		path = dir + "/state.snap"
	}
	result, err := v.build(target, p, path)
	if err != nil {
		return fmt.Errorf("building the state: %w", err)
	}
	for _, note := range result.Notes {
		fmt.Fprintln(v.stderr, note)
	}
	fmt.Fprintf(v.stdout, "Built the state at index %d, %s: backup %s and %d entries of the log. Its hash is %x.\n",
		result.Index, shownTime(result.Time), result.Backup, result.Replayed, result.Hash)
	if *f.file != "" {
		_, err := fmt.Fprintf(v.stdout, "Wrote and verified %s\n", path)
		return err
	}
	return v.upload(path, result.Index)
}

// build writes the state to a file, which gets its name once it was read back.
func (v *verb) build(target backup.Target, p journal.Point, path string) (result *journal.Result, err error) {
	temporary := path + ".unverified"
	err = create(temporary, func(file io.Writer) (err error) {
		result, err = journal.Rebuild(context.Background(), target, p, "", file)
		return err
	})
	if err != nil {
		return nil, err
	}
	_, err = v.publish(temporary, path)
	return result, err
}

// upload puts a snapshot file into the cluster.
func (v *verb) upload(path string, index uint64) error {
	client, err := v.connection.client()
	if err != nil {
		return err
	}
	file, length, err := v.open([]string{"@" + path})
	if err != nil {
		return err
	}
	defer file.Close()
	return v.restoreFrom(client, file, length, index, nil, "Restored it into the cluster")
}

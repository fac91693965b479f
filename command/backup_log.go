package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"praetor/agent/backup/journal"
	"praetor/structs"
)

func backupLog(v *verb) {
	v.help = help{`
Lists what was changed when, from the archived log at the backup target: the raft index, the time, the operation, the
key (or session, service, ...) and the bytes of the value. No server is needed. It shows what was asked for: whether a
compare-and-set, a lock or a transaction did what it was to do, the log does not say. What servers write by themselves
is left out unless -all is given.

A time is written as 2026-03-01T12:00:00Z, as "2026-03-01 12:00:00" in this machine's time zone, or as how long ago it
was: 90m.`,
		[]string{`backup log -prefix=app/ -since=2h`, `backup log -since=2026-03-01T12:00:00Z -until=2026-03-01T12:10:00Z`,
			`backup log -target=/mnt/backups -format=json | jq -r '.[] | select(.Op=="delete-tree")'`},
	}
	source := v.targetFlags()
	prefix := v.flags.String("prefix", "", "Only what changes keys that begin with this `prefix`, deletes of a tree above it included.")
	since := v.flags.String("since", "", "Only what was written at this `time` or later.")
	until := v.flags.String("until", "", "Only what was written at this `time` or earlier.")
	everything := v.flags.Bool("all", false, "Also what servers write by themselves: coordinates, forgotten tombstones, settings.")
	v.formats()
	v.run = func([]string) error {
		filter := journal.Filter{Prefix: *prefix}
		var err error
		if filter.Since, err = moment(*since); err != nil {
			return err
		}
		if filter.Until, err = upTo(*until); err != nil {
			return err
		}
		changes, damage, err := v.changes(source, filter, *everything)
		if err != nil {
			return err
		}
		if v.json() {
			err = v.printJSON(changes)
		} else {
			err = v.printChanges(changes)
		}
		for _, d := range damage {
			fmt.Fprintf(v.stderr, "Not shown: %v\n", d)
		}
		if err == nil && len(damage) > 0 {
			err = exit(2)
		}
		return err
	}
}

// byItself reports whether a server writes such a thing unasked.
func byItself(c *journal.Change) bool {
	return c.Op == "coordinates" || c.Op == "reap tombstones" || c.Op == "autopilot" || strings.HasPrefix(c.Op, "metadata ")
}

// changes reads the archived log. What of it is missing or damaged comes back as
// such; err is a target that does not answer.
func (v *verb) changes(source *targetFlags, filter journal.Filter, everything bool) (changes []journal.Change, damage []error, err error) {
	target, err := source.open()
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	log, err := journal.Open(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	if len(log.Segments()) == 0 {
		return nil, nil, failf("There is no archived log at this target.")
	}
	changes = []journal.Change{}
	for c, err := range log.Changes(ctx, filter) {
		switch {
		case err != nil && !structs.IsCode(err, structs.Corrupt) && !structs.IsCode(err, structs.NotFound):
			return nil, nil, fmt.Errorf("reading the archived log: %w", err)
		case err != nil:
			damage = append(damage, err)
		case everything || !byItself(&c):
			changes = append(changes, c)
		}
	}
	return changes, damage, nil
}

func (v *verb) printChanges(changes []journal.Change) error {
	rows := [][]string{{"Index", "Time", "Operation", "Key", "Size"}}
	for i := range changes {
		c := &changes[i]
		op := c.Op
		if c.Txn {
			op += " (txn)"
		}
		rows = append(rows, []string{strconv.FormatUint(c.Index, 10), shownTime(c.Time), op, strconv.QuoteToGraphic(c.Key), strconv.Itoa(c.Size)})
	}
	return v.printTable(rows)
}

func shownTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02T15:04:05.000Z07:00")
}

// moment reads a time; "" is none.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	return time.Time{}, misusef("%q is not a time: write 2026-03-01T12:00:00Z, \"2026-03-01 12:00:00\" or, for how long ago, 90m", text)
}

// upTo reads the end of a stretch of time. One in milliseconds, as log shows them,
// is meant with all of its last millisecond: what is shown then is in it.
func upTo(text string) (time.Time, error) {
	t, err := moment(text)
	if err == nil && strings.Contains(text, ".") && t.Nanosecond()%int(time.Millisecond) == 0 {
		t = t.Add(time.Millisecond - 1)
	}
	return t, err
}

// logRows are what the status says of the archived log.
func logRows(s *structs.LogArchiveStatus) [][]string {
	if s == nil {
		return [][]string{{"Archived log", "off"}}
	}
	rows := [][]string{
		{"Archived log", "to index " + strconv.FormatUint(s.Index, 10)}, {"  Written", shownTime(s.Time)},
		{"  Entries behind", strconv.FormatUint(s.Behind, 10)},
	}
	if s.AwaitBackup {
		rows = append(rows, []string{"  Awaits", "a backup to stand on"})
	}
	for _, g := range s.Gaps {
		rows = append(rows, []string{"  Gap", g.String()})
	}
	if s.Error != "" {
		rows = append(rows, []string{"  Error", s.Error})
	}
	return rows
}

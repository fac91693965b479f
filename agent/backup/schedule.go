package backup

import (
	"time"

	"github.com/adhocore/gronx"

	"praetor/structs"
)

// Schedule says when backups are due.
type Schedule interface {
	Next(last time.Time) time.Time // the first time after last
	String() string
}

// Every is a schedule with the same time between any two.
type Every time.Duration

// Next is one interval later.
func (e Every) Next(last time.Time) time.Time { return last.Add(time.Duration(e)) }

// String is for people.
func (e Every) String() string { return "every " + time.Duration(e).String() }

// cron is a schedule in five fields, read in UTC: whichever server leads, it
// means the same.
type cron string

// Cron reads an expression such as "30 3 * * *" or "@daily".
func Cron(expression string) (Schedule, error) {
	if !gronx.IsValid(expression) {
		return nil, structs.Errorf(structs.Invalid, "backup.cron %q is not a cron expression: minute hour day month weekday", expression)
	}
	if _, err := gronx.NextTickAfter(expression, time.Now().UTC(), false); err != nil {
		return nil, structs.Errorf(structs.Invalid, "backup.cron %q never comes: %v", expression, err)
	}
	return cron(expression), nil
}

// Next is the next minute that the expression names.
func (c cron) Next(last time.Time) time.Time {
	next, err := gronx.NextTickAfter(string(c), last.UTC(), false)
	if err != nil {
		return last.Add(24 * time.Hour) // an expression whose year is over; better too many than none
	}
	return next
}

// String is for people.
func (c cron) String() string { return string(c) + " UTC" }

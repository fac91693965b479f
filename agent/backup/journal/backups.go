package journal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"praetor/agent/backup"
)

// Backup is a snapshot in the target.
type Backup struct {
	Name  string
	Index uint64
	Time  time.Time
}

// Backups are the snapshots of a target that are known to be sound: those that
// have a record. The oldest comes first.
func Backups(ctx context.Context, target backup.Target) ([]Backup, error) {
	objects, err := target.List(ctx, "snap/")
	if err != nil {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	recorded := map[string]bool{}
	for _, o := range objects {
		if name, ok := strings.CutSuffix(o.Name, ".json"); ok {
			recorded[name] = true
		}
	}
	var backups []Backup
	for _, o := range objects {
		name, ok := strings.CutSuffix(o.Name, ".snap")
		if !ok || !recorded[name] {
			continue
		}
		first, second, _ := strings.Cut(strings.TrimPrefix(name, "snap/"), "-")
		index, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			continue
		}
		ms, err := strconv.ParseInt(second, 10, 64)
		if err != nil {
			continue
		}
		backups = append(backups, Backup{o.Name, index, time.UnixMilli(ms)})
	}
	slices.SortStableFunc(backups, func(a, b Backup) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Index, b.Index)) })
	return backups, nil
}

// Prune deletes the segments that no backup needs any more: those that were
// stored before the oldest one was taken. Without a backup it deletes nothing.
func Prune(ctx context.Context, target backup.Target) error {
	backups, err := Backups(ctx, target)
	if err != nil || len(backups) == 0 {
		return err
	}
	segments, err := list(ctx, target)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if s.Time.Before(backups[0].Time.Add(-pruneMargin)) {
			if err := target.Delete(ctx, s.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

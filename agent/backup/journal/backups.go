package journal

import (
	"context"
	"fmt"
	"slices"

	"praetor/agent/backup"
	"praetor/structs"
)

// goodBackups are the backups of a target that are known to be sound, oldest first.
func goodBackups(ctx context.Context, target backup.Target) ([]structs.BackupRecord, error) {
	records, err := backup.List(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	return slices.DeleteFunc(records, func(r structs.BackupRecord) bool { return !r.Good() }), nil
}

// Prune deletes the segments that no backup needs any more: those that were
// stored before the oldest one was taken, and of the chain that is being
// continued those before the first of its backups, which may be long after
// another cluster's. Without a backup it deletes nothing.
func Prune(ctx context.Context, target backup.Target, chain string) error {
	backups, err := goodBackups(ctx, target)
	if err != nil || len(backups) == 0 {
		return err
	}
	segments, err := list(ctx, target)
	if err != nil {
		return err
	}
	var first uint64 // lowest index of a backup that may be of the chain
	for _, b := range backups {
		if !b.Time.Before(begun(chain).Add(-pruneMargin)) && (first == 0 || b.Index < first) {
			first = b.Index
		}
	}
	for _, s := range segments {
		if s.Time.Before(backups[0].Time.Add(-pruneMargin)) || s.Chain == short(chain) && s.Last <= first {
			if err := target.Delete(ctx, s.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

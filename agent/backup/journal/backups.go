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

// Prune deletes the segments that no backup needs any more. Of the chain that is
// being continued, which began at index start, those are the ones before the
// first of the cluster's backups behind start: by index, since clocks may be
// wrong. Of other chains, of which nothing is known, they are the ones that were
// stored before the oldest backup of any cluster was taken. Without a backup it
// deletes nothing.
func Prune(ctx context.Context, target backup.Target, cluster, chain string, start uint64) error {
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
		if b.ClusterID == cluster && b.Index >= start && (first == 0 || b.Index < first) {
			first = b.Index
		}
	}
	oldest := backups[0].Time.Add(-pruneMargin)
	for _, s := range segments {
		needless := s.Time.Before(oldest)
		if s.Chain == short(chain) {
			needless = s.Last <= first
		}
		if needless {
			if err := target.Delete(ctx, s.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

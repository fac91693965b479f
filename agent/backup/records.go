package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"praetor/structs"
)

// maxRecord is far more than a record needs.
const maxRecord = 64 << 10

// List returns the backups at a target, oldest first. One that cannot be
// restored says so in its Error. Archives without a record are left out: they
// were never finished.
func List(ctx context.Context, t Target) ([]structs.BackupRecord, error) {
	records, _, err := list(ctx, t)
	return records, err
}

// list returns as well the archives that no record speaks of.
func list(ctx context.Context, t Target) (records []structs.BackupRecord, remainders []string, err error) {
	objects, err := t.List(ctx, snapPrefix)
	if err != nil {
		return nil, nil, err
	}
	archives := map[string]bool{}
	for _, o := range objects {
		if name, ok := strings.CutSuffix(o.Name, snapEnding); ok {
			archives[strings.TrimPrefix(name, snapPrefix)] = true
		}
	}
	for _, o := range objects {
		name, ok := strings.CutSuffix(strings.TrimPrefix(o.Name, snapPrefix), recordEnding)
		index, at, named := parseSnapName(name)
		if !ok || !named {
			continue
		}
		text, err := readAll(ctx, t, o.Name, maxRecord)
		if structs.IsCode(err, structs.NotFound) {
			continue // forgotten meanwhile
		}
		if err != nil {
			return nil, nil, err
		}
		r := structs.BackupRecord{}
		if err := json.Unmarshal(text, &r); err != nil || r.Name != name || r.Index != index {
			r = structs.BackupRecord{Name: name, Index: index, Time: at, Error: "its record is damaged"}
		} else if !archives[name] {
			r.Error = "its archive is gone"
		}
		delete(archives, name)
		records = append(records, r)
	}
	for name := range archives {
		remainders = append(remainders, name)
	}
	slices.Sort(remainders)
	slices.SortFunc(records, func(a, b structs.BackupRecord) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Name, b.Name))
	})
	return records, remainders, nil
}

func putRecord(ctx context.Context, t Target, r *structs.BackupRecord) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return t.Put(ctx, recordPath(r.Name), bytes.NewReader(append(text, '\n')))
}

// Find returns the backup of a name, or with "latest" the newest good one. That
// is refused if another got further: whoever starts an empty cluster by mistake at
// the same target must not restore its emptiness, and where a clock went wrong, or
// a cluster lost entries with its quorum, only people can tell which is the later.
func Find(records []structs.BackupRecord, name string) (*structs.BackupRecord, error) {
	if name != "latest" && name != "" {
		i := slices.IndexFunc(records, func(r structs.BackupRecord) bool { return r.Name == bareName(name) })
		if i < 0 {
			return nil, structs.Errorf(structs.NotFound, "there is no backup %s at the target", bareName(name))
		}
		if r := &records[i]; r.Good() {
			return r, nil
		}
		return nil, structs.Errorf(structs.Corrupt, "backup %s is no good: %s", records[i].Name, reason(&records[i]))
	}
	latest := newest(records)
	if latest == nil {
		return nil, structs.Errorf(structs.NotFound, "there is no good backup at the target")
	}
	for i := range records {
		r := &records[i]
		if !r.Good() || r.Index <= latest.Index {
			continue
		}
		why := "is of another cluster than"
		if r.ClusterID == latest.ClusterID {
			why = "bears a later time than"
		}
		return nil, structs.Errorf(structs.Conflict, "the newest backup, %s, %s %s, which got further (raft index %d, not %d): name the one you want",
			latest.Name, why, r.Name, r.Index, latest.Index)
	}
	return latest, nil
}

func reason(r *structs.BackupRecord) string {
	if r.Error != "" {
		return r.Error
	}
	return "it was not verified"
}

// newest returns the newest good backup.
func newest(records []structs.BackupRecord) *structs.BackupRecord {
	for i := range slices.Backward(records) {
		if records[i].Good() {
			return &records[i]
		}
	}
	return nil
}

// Expired returns the names of the backups of one cluster that need not be kept:
// good ones when keep newer ones are there or they are older than keepFor (0
// sets either rule aside), never the newest; bad ones when there is any newer
// one. Newer is what is later and has got as far: a clock that is behind must not
// make the backup that it has just dated the oldest of all. Those of other
// clusters are nobody's business here.
func Expired(records []structs.BackupRecord, clusterID string, now time.Time, keep int, keepFor time.Duration) []string {
	var names []string
	for i := range records {
		r := &records[i]
		if r.ClusterID != clusterID {
			continue
		}
		newer, good := 0, 0
		for _, other := range records[i+1:] {
			switch {
			case other.ClusterID != clusterID:
			case other.Good() && other.Index >= r.Index:
				good++
				newer++
			default:
				newer++
			}
		}
		switch isGood := r.Good(); {
		case !isGood && newer > 0,
			isGood && good > 0 && (keep > 0 && good >= keep || keepFor > 0 && now.Sub(r.Time) > keepFor):
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// remove forgets a backup: first its record, so that it stops counting at once.
func remove(ctx context.Context, t Target, name string) error {
	if err := t.Delete(ctx, recordPath(name)); err != nil {
		return err
	}
	return t.Delete(ctx, snapPath(name))
}

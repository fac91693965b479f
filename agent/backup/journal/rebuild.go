package journal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"praetor/agent/backup"
	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// Point is the moment whose state is wanted: the state with all entries up to
// Index, or all that were written until Time, or, if both are zero, all there are.
type Point struct {
	Index uint64
	Time  time.Time
	Chain string // of which history; "": the youngest that has it
}

// Result is what was built.
type Result struct {
	Index    uint64 // the last entry that is in it
	Time     time.Time
	Backup   string // the backup it began with
	Replayed uint64 // entries that were applied to that
	Hash     [sha256.Size]byte
	Notes    []string // what whoever asked should know
}

// Rebuild builds the state at a point and writes it to out as a snapshot
// archive. It begins with the newest backup before the point; if that is damaged
// or what follows it is not there, with an older one, as long as that leads to the
// same state: damage never makes another history, or an earlier end, the answer.
// It works in a directory for temporary files, dir; "" is the system's.
func Rebuild(ctx context.Context, target backup.Target, p Point, dir string, out io.Writer) (*Result, error) {
	backups, err := goodBackups(ctx, target)
	if err != nil {
		return nil, err
	}
	log, err := Open(ctx, target)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		dir = os.TempDir()
	}
	if p == (Point{}) { // the end of which cluster?
		if _, err := backup.Find(backups, "latest"); err != nil {
			return nil, err
		}
	}
	var problems []error
	var missed *rebuild // the newest that did not work
	for _, b := range slices.Backward(backups) {
		if p.Index != 0 && b.Index > p.Index || !p.Time.IsZero() && b.Time.After(p.Time) {
			continue
		}
		r := &rebuild{log: log, point: p, dir: dir, backup: b, missed: missed}
		result, err := r.run(ctx, target, out)
		if err == nil {
			for _, problem := range problems {
				result.Notes = append(result.Notes, fmt.Sprintf("Not used: %v.", problem))
			}
			return result, nil
		}
		if r.writing || ctx.Err() != nil || structs.IsCode(err, structs.Invalid) { // the wrong key does not open older ones either
			return nil, err
		}
		if !errors.Is(err, errOtherChain) && !errors.Is(err, errTooLate) {
			problems = append(problems, fmt.Errorf("%s: %w", b.Name, err))
			if missed == nil && !errors.Is(err, errEndsBefore) {
				missed = r
			}
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(backups) == 0 {
		return nil, structs.Errorf(structs.NotFound, "there is no good backup at the target")
	}
	return nil, structs.Errorf(structs.NotFound, "none of the %d good backups at the target is of that moment or before: the oldest is of index %d, %s",
		len(backups), backups[0].Index, backups[0].Time.UTC().Format(time.RFC3339))
}

var (
	errOtherChain = errors.New("the backup is of another chain of the log")
	errTooLate    = errors.New("the backup holds something that was written later")
	errEndsBefore = structs.Errorf(structs.NotFound, "the archived log that belongs to it ends before that index")
)

type rebuild struct {
	log     *Log
	point   Point
	dir     string
	backup  structs.BackupRecord
	missed  *rebuild // of a newer backup, which this one is to stand in for; nil if there is none
	loaded  bool     // so chain is known
	chain   string
	machine *fsm.FSM
	meta    raft.SnapshotMeta
	result  Result
	writing bool // something of the result has been written
}

func (r *rebuild) run(ctx context.Context, target backup.Target, out io.Writer) (*Result, error) {
	if err := r.load(ctx, target); err != nil {
		return nil, err
	}
	r.result = Result{Index: r.meta.Index, Time: r.backup.Time, Backup: r.backup.Name}
	chain := ""
	if e := r.machine.Store().Read().MetadataEntry(structs.LogChainKey); e != nil {
		chain = e.Value
	}
	r.loaded, r.chain = true, chain
	if m := r.missed; m != nil && m.loaded && m.chain != chain {
		return nil, errOtherChain
	}
	if r.point.Chain != "" && short(chain) != short(r.point.Chain) {
		return nil, errOtherChain
	}
	if late, err := r.tooLate(ctx, chain); late || err != nil {
		return nil, cmp.Or(err, errTooLate)
	}
	if err := r.replay(ctx, chain); err != nil {
		return nil, err
	}
	if r.point.Index != 0 && r.result.Index != r.point.Index {
		return nil, fmt.Errorf("%w, at %d", errEndsBefore, r.result.Index)
	}
	if m := r.missed; m != nil && r.point.Chain == "" && (r.backup.ClusterID != m.backup.ClusterID || r.result.Index < m.backup.Index) {
		return nil, errOtherChain
	}
	view := r.machine.View()
	r.result.Hash = view.Hash()
	return &r.result, r.save(out)
}

// load restores the backup, once it has proved to be what its record says.
func (r *rebuild) load(ctx context.Context, target backup.Target) error {
	in, w := io.Pipe()
	fetched := make(chan error, 1)
	go func() {
		err := backup.Fetch(ctx, target, &r.backup, w)
		_ = w.CloseWithError(err)
		fetched <- err
	}()
	spooled, err := archive.Spool(r.dir, in)
	_ = in.CloseWithError(err)
	if fetchErr := <-fetched; fetchErr != nil { // which says more
		err = fetchErr
	}
	if spooled != nil {
		defer spooled.Close()
	}
	if err != nil {
		return err
	}
	if spooled.Meta.Index != r.backup.Index {
		return structs.Errorf(structs.Corrupt, "it is a backup of index %d, not of the one it is called after", spooled.Meta.Index)
	}
	r.meta = *spooled.Meta
	r.machine = fsm.New()
	return r.machine.Restore(spooled.File)
}

// tooLate reports whether the backup was taken after the time that is wanted.
// The time in its name is when it was begun; what was written meanwhile is in it.
func (r *rebuild) tooLate(ctx context.Context, chain string) (bool, error) {
	if r.point.Time.IsZero() || chain == "" {
		return false, nil
	}
	for last, err := range r.log.Entries(ctx, chain, r.meta.Index) {
		if structs.IsCode(err, structs.NotFound) || structs.IsCode(err, structs.Corrupt) {
			break // not archived: its name is all that is known
		}
		return err == nil && last.AppendedAt.After(r.point.Time), err
	}
	return false, nil
}

// batch is how many entries are applied in one transaction.
const batch = 256

func (r *rebuild) replay(ctx context.Context, chain string) error {
	if r.point.Index == r.meta.Index {
		return nil
	}
	if chain == "" {
		if r.point.Index == 0 {
			r.result.Notes = append(r.result.Notes, "The log was not archived when this backup was taken: this is the backup as it is.")
		}
		return nil
	}
	var logs []*raft.Log
	for log, err := range r.log.Entries(ctx, chain, r.meta.Index+1) {
		if err != nil {
			return err
		}
		if !r.point.Time.IsZero() && log.AppendedAt.After(r.point.Time) {
			return r.apply(logs)
		}
		logs = append(logs, log)
		if len(logs) == batch || log.Index == r.point.Index {
			if err := r.apply(logs); err != nil {
				return err
			}
			logs = nil
		}
		if log.Index == r.point.Index {
			return nil
		}
	}
	if err := r.apply(logs); err != nil {
		return err
	}
	if !r.point.Time.IsZero() {
		r.result.Notes = append(r.result.Notes, fmt.Sprintf(
			"The archived log ends at index %d, written at %s: what may have been written after that is not in it.",
			r.result.Index, r.result.Time.UTC().Format(time.RFC3339Nano)))
	}
	return nil
}

// apply applies entries as a server does. An entry that a server of this version
// could not apply is an error.
func (r *rebuild) apply(logs []*raft.Log) (err error) {
	if len(logs) == 0 {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = structs.Errorf(structs.Unsupported, "the archived log cannot be applied: %v", p)
		}
	}()
	r.machine.ApplyBatch(logs)
	last := logs[len(logs)-1]
	r.result.Index, r.meta.Index, r.meta.Term = last.Index, last.Index, last.Term
	if !last.AppendedAt.IsZero() {
		r.result.Time = last.AppendedAt
	}
	r.result.Replayed += uint64(len(logs))
	return nil
}

// save writes the state as a snapshot archive, with the parts of large entries
// of which not all have come.
func (r *rebuild) save(out io.Writer) error {
	file, err := os.CreateTemp(r.dir, "rebuild-*.tmp")
	if err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	snapshot, err := r.machine.Snapshot()
	if err != nil {
		return err
	}
	if err := snapshot.Persist(stateFile{file}); err != nil {
		return err
	}
	if r.meta.Size, err = file.Seek(0, io.SeekCurrent); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	r.meta.ID = fmt.Sprintf("%d-%d-%d", r.meta.Term, r.meta.Index, r.result.Time.UnixMilli())
	r.writing = true
	return archive.Write(out, &r.meta, file)
}

// stateFile is a raft.SnapshotSink.
type stateFile struct{ file *os.File }

// Write writes.
func (s stateFile) Write(p []byte) (int, error) { return s.file.Write(p) }

// Close leaves the file open, to be read.
func (stateFile) Close() error { return nil }

// Cancel does nothing: the file is removed in any case.
func (stateFile) Cancel() error { return nil }

// ID is not asked for.
func (stateFile) ID() string { return "" }

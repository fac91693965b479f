package backup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"

	metrics "github.com/hashicorp/go-metrics/compat"

	"praetor/structs"
)

// attempt is one turn of a lead.
type attempt struct {
	*lead
	ctx   context.Context // ends with the leadership, or when the target stalls
	stop  context.CancelCauseFunc
	alive *time.Timer
}

func newAttempt(ctx context.Context, l *lead) *attempt {
	a := &attempt{lead: l}
	a.ctx, a.stop = context.WithCancelCause(ctx)
	a.alive = time.AfterFunc(stallTime, func() {
		a.stop(structs.Errorf(structs.Unreachable, "the target did not move for %v", stallTime))
	})
	return a
}

// await waits for the attempt, but not for a target that hangs.
func (a *attempt) await(done <-chan error, gauges <-chan time.Time) error {
	for {
		select {
		case err := <-done:
			if cause := context.Cause(a.ctx); err != nil && cause != nil {
				return cause // what it broke off for, not what it said then
			}
			return err
		case <-gauges:
			a.gauge()
		case <-a.ctx.Done():
			select {
			case <-done:
				return context.Cause(a.ctx)
			case <-time.After(hangTime):
				return structs.Errorf(structs.Unreachable, "the target hangs: %v", context.Cause(a.ctx))
			}
		}
	}
}

func (a *attempt) end() {
	a.alive.Stop()
	a.stop(nil)
}

// Write is progress.
func (a *attempt) Write(p []byte) (int, error) {
	a.alive.Reset(stallTime)
	return len(p), nil
}

// run looks at the target, and takes a backup if one is due or asked for.
func (a *attempt) run() error {
	if err := a.look(); err != nil {
		return fmt.Errorf("look at the target: %w", err)
	}
	due := false
	a.report(func(s *structs.BackupStatus) {
		due = a.until > s.Started || !a.due(s.Last).After(time.Now())
		if due {
			s.Started++
			s.Running = true
		}
	})
	if !due {
		return nil
	}
	record, err := a.backup()
	if err == nil {
		a.Logger.Info("took a backup and verified it", "name", record.Name, "bytes", record.Size,
			"took", time.Duration(record.Took), "state_hash", record.StateHash)
	}
	if err == nil || structs.IsCode(err, structs.Corrupt) {
		if err := a.tidy(); err != nil { // the backup is as good as it is all the same
			a.Logger.Warn("old backups could not be deleted", "target", a.URL, "error", err)
		}
	}
	if err != nil {
		return err
	}
	return a.look()
}

// look finds out what is at the target.
func (a *attempt) look() error {
	records, err := List(a.ctx, a.Target)
	if err != nil {
		return err
	}
	a.alive.Reset(stallTime)
	good, come := 0, time.Now().Add(clockMargin)
	var last *structs.BackupRecord
	for i := range records {
		r := &records[i]
		if !r.Good() || r.ClusterID != a.clusterID {
			continue
		}
		good++
		if r.Time.Before(come) { // what a clock that was ahead has dated must not hold up others
			last = r
		}
	}
	a.report(func(s *structs.BackupStatus) { s.Backups, s.Last = good, last })
	return nil
}

// backup writes one, reads it back, and then says that it is there.
func (a *attempt) backup() (*structs.BackupRecord, error) {
	began := time.Now()
	source, err := a.take(a.ctx)
	if err != nil {
		return nil, fmt.Errorf("take a snapshot: %w", err)
	}
	defer source.Close()
	r := &structs.BackupRecord{
		Name: snapName(source.Index, began), Index: source.Index, Time: began.UTC().Truncate(time.Millisecond),
		ClusterID: a.clusterID, Server: a.Server, Version: a.Version, Encrypted: a.Sealed,
	}
	c := &counter{r: io.TeeReader(source, a), sum: sha256.New()}
	if err := a.Target.Put(a.ctx, snapPath(r.Name), c); err != nil {
		return nil, fmt.Errorf("write backup: %w", err)
	}
	r.Size, r.SHA256, r.StateHash = c.n, c.sumHex(), source.StateHash()
	err = Fetch(a.ctx, a.Target, r, a)
	r.Took = structs.Duration(time.Since(began))
	switch {
	case structs.IsCode(err, structs.Corrupt):
		r.Error = err.Error() // it stays, to be looked at
	case err != nil:
		a.drop(r.Name)
		return nil, fmt.Errorf("verify backup: %w", err)
	default:
		r.Verified = true
	}
	if putErr := putRecord(a.ctx, a.Target, r); putErr != nil {
		a.drop(r.Name)
		return nil, fmt.Errorf("write the backup's record: %w", putErr)
	}
	if err != nil {
		return nil, fmt.Errorf("verify backup: %w", err)
	}
	metrics.AddSample([]string{"backup", "time"}, float32(time.Duration(r.Took).Milliseconds()))
	return r, nil
}

// drop removes an archive that will not get a record. If it stays after all, it
// is swept up later.
func (a *attempt) drop(name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), hangTime)
	defer cancel()
	_ = a.Target.Delete(ctx, snapPath(name))
}

// tidy deletes what need not be kept, and what was never finished.
func (a *attempt) tidy() error {
	records, remainders, err := list(a.ctx, a.Target)
	if err != nil {
		return err
	}
	for _, name := range remainders {
		if _, at, ok := parseSnapName(strings.TrimSuffix(name, snapEnding)); ok && time.Since(at) > remainderOf {
			if err := a.Target.Delete(a.ctx, snapPath(name)); err != nil {
				return err
			}
			a.alive.Reset(stallTime)
		}
	}
	for _, name := range Expired(records, a.clusterID, time.Now(), a.Keep, a.KeepFor) {
		if err := remove(a.ctx, a.Target, name); err != nil {
			return err
		}
		a.alive.Reset(stallTime)
		a.Logger.Info("deleted an old backup", "name", name)
	}
	if target, ok := a.Target.(sweeper); ok {
		if err := target.sweep(a.ctx, time.Now().Add(-remainderOf)); err != nil { // a key may well not have the right to
			a.Logger.Info("what was never written to its end could not be deleted", "target", a.URL, "error", err)
		}
		a.alive.Reset(stallTime)
	}
	return nil
}

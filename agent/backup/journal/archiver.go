package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	metrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/raft"

	"praetor/agent/backup"
	"praetor/structs"
)

// Source is the server whose log is archived.
type Source interface {
	IsLeader() bool

	// ClusterID returns the id that the cluster's backups bear.
	ClusterID() string

	// Committed returns the first index in the log and the last that is committed
	// and applied.
	Committed() (first, last uint64, err error)

	// Entry reads an entry, with code NotFound where there is none.
	Entry(index uint64) (*raft.Log, error)

	// LogChain returns the chain that the state names, and at which index it did.
	LogChain() (id string, start uint64)

	// StartLogChain has the state name another.
	StartLogChain(id string) error
}

// Config says what an Archiver does.
type Config struct {
	Source Source
	Target backup.Target
	Lag    time.Duration // how far behind the log is at most, while the target answers

	// Backup takes a backup of the state as it is now, for a new chain to stand on.
	Backup func(context.Context) error

	SegmentSize int // bytes at which a segment ends; 0: 4 MiB
	Logger      hclog.Logger
}

const (
	defaultSegmentSize = 4 << 20
	putTimeout         = time.Minute
	lastTime           = 5 * time.Second // for what is left when the server stops
	backupRetry        = 30 * time.Second
	pruneEvery         = time.Hour
	pruneMargin        = time.Hour // what clocks may differ by
)

// Archiver puts the committed log of the server that leads into a target.
// Nothing that it does holds up the server: it reads the log where raft keeps
// it, and has one segment in memory at a time.
type Archiver struct {
	config Config

	chain string // that is being continued; "" must be found out
	next  uint64 // index to archive next
	prune time.Time

	mu     sync.Mutex // guards status
	status structs.LogArchiveStatus
}

// New returns an Archiver; Run starts it.
func New(config Config) *Archiver {
	if config.SegmentSize == 0 {
		config.SegmentSize = defaultSegmentSize
	}
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	return &Archiver{config: config}
}

// Status returns how the archive stands. Only the leader's says something.
func (a *Archiver) Status() structs.LogArchiveStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	status := a.status
	status.Gaps = slices.Clone(status.Gaps)
	if _, last, err := a.config.Source.Committed(); err == nil && last > status.Index && status.Chain != "" {
		status.Behind = last - status.Index
	}
	return status
}

func (a *Archiver) note(change func(*structs.LogArchiveStatus)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.status)
}

// Run archives until ctx ends, and then once more, so that a server that stops
// in order leaves nothing behind. A target that hangs does not keep it.
func (a *Archiver) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.run(ctx)
	}()
	<-ctx.Done()
	select {
	case <-done:
	case <-time.After(lastTime + time.Second):
		a.config.Logger.Warn("the target hangs: stopping without it")
	}
}

func (a *Archiver) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { a.takeBackups(ctx) })
	every := time.NewTicker(max(a.config.Lag/2, time.Millisecond)) // the other half is for the target
	defer every.Stop()
	for {
		select {
		case <-every.C:
			a.turn(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
			defer cancel()
			a.turn(last)
			return
		}
	}
}

// turn archives what there is and keeps what became of it.
func (a *Archiver) turn(ctx context.Context) {
	if !a.config.Source.IsLeader() {
		a.chain = ""
		a.note(func(s *structs.LogArchiveStatus) { *s = structs.LogArchiveStatus{} })
		return
	}
	err := a.archive(ctx)
	if err == nil {
		a.note(func(s *structs.LogArchiveStatus) { s.Error, s.Success = "", time.Now() })
		metrics.SetGauge([]string{"backup", "log", "index"}, float32(a.next-1))
		a.sweep(ctx)
		return
	}
	metrics.IncrCounter([]string{"backup", "log", "errors"}, 1)
	a.note(func(s *structs.LogArchiveStatus) {
		if s.Error == "" {
			a.config.Logger.Warn("cannot archive the log", "error", err)
		}
		s.Error = err.Error()
	})
}

// errBroken says that the next entry is not in our log.
var errBroken = errors.New("the log has broken off")

// archive puts everything that is committed into the target. Where the log has
// broken off it starts a new chain.
func (a *Archiver) archive(ctx context.Context) error {
	if chain, _ := a.config.Source.LogChain(); chain != a.chain || chain == "" {
		if err := a.resume(ctx); err != nil {
			return err
		}
	}
	err := a.follow(ctx)
	if !errors.Is(err, errBroken) {
		return err
	}
	if err := a.begin(ctx, fmt.Sprintf("entry %d is not in the log any more", a.next)); err != nil {
		return err
	}
	return a.follow(ctx)
}

// follow puts segments into the target until nothing is left.
func (a *Archiver) follow(ctx context.Context) error {
	for {
		_, last, err := a.config.Source.Committed()
		if err != nil || a.next > last {
			return err
		}
		b := builder{header: header{Chain: a.chain}}
		for index := a.next; index <= last && len(b.entries) < a.config.SegmentSize; index++ {
			log, err := a.config.Source.Entry(index)
			if structs.IsCode(err, structs.NotFound) {
				break
			}
			if err != nil {
				return err
			}
			b.add(log)
		}
		if b.First == 0 {
			return errBroken
		}
		if err := a.put(ctx, &b); err != nil {
			return err
		}
	}
}

func (a *Archiver) put(ctx context.Context, b *builder) error {
	segment, err := b.encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := a.config.Target.Put(ctx, b.name(), bytes.NewReader(segment)); err != nil {
		return fmt.Errorf("archive entries %d to %d: %w", b.First, b.Last, err)
	}
	a.next = b.Last + 1
	a.note(func(s *structs.LogArchiveStatus) { s.Index, s.Time = b.Last, b.time })
	return nil
}

// resume goes on where the last leader, or this one before it stopped, ended: if
// the last segment of the chain is of our own log.
func (a *Archiver) resume(ctx context.Context) error {
	segments, err := list(ctx, a.config.Target)
	if err != nil {
		return err
	}
	chain, start := a.config.Source.LogChain()
	last := Info{}
	for _, s := range segments {
		if s.Chain == short(chain) && s.Last > last.Last {
			last = s
		}
	}
	_, committed, err := a.config.Source.Committed()
	switch {
	case err != nil:
		return err
	case chain == "":
		return a.begin(ctx, "the state belongs to no archived log: it is another cluster's, or a snapshot from elsewhere was restored")
	case last.Last == 0:
		return a.begin(ctx, "the target has nothing of the log that the cluster believed to be there")
	case last.Last > committed:
		return a.begin(ctx, "the archived log goes on where the cluster's does not: it was started from a backup")
	}
	log, err := a.config.Source.Entry(last.Last)
	if structs.IsCode(err, structs.NotFound) {
		return a.begin(ctx, fmt.Sprintf("the log has been compacted, or replaced by a snapshot, beyond entry %d", last.Last))
	}
	if err != nil {
		return err
	}
	if mark(log) != last.end {
		return a.begin(ctx, fmt.Sprintf("entry %d of the archived log is not the cluster's", last.Last))
	}
	backed, err := a.backed(ctx, chain, start)
	if err != nil {
		return err
	}
	gaps, err := readGaps(ctx, a.config.Target)
	if err != nil {
		return err
	}
	a.chain, a.next = chain, last.Last+1
	a.note(func(s *structs.LogArchiveStatus) {
		*s = structs.LogArchiveStatus{Chain: chain, Index: last.Last, Time: log.AppendedAt, AwaitBackup: !backed, Gaps: gaps}
	})
	a.config.Logger.Info("archiving the log", "chain", chain, "from", a.next)
	return nil
}

// begin starts a new chain. If the target has another, which ends with it, the
// gap is recorded with the reason.
func (a *Archiver) begin(ctx context.Context, reason string) error {
	segments, err := list(ctx, a.config.Target)
	if err != nil {
		return err
	}
	old, _ := a.config.Source.LogChain()
	old = cmp.Or(a.chain, old)
	if chains := (&Log{segments: segments}).Chains(); old == "" && len(chains) > 0 {
		old = chains[len(chains)-1]
	}
	chain := newChain(time.Now())
	if err := a.config.Source.StartLogChain(chain); err != nil {
		return fmt.Errorf("start a chain of the log: %w", err)
	}
	named, start := a.config.Source.LogChain()
	if named != chain { // another leader's, or a restore has come between
		return structs.Errorf(structs.Conflict, "the log's chain was replaced while it began")
	}
	var gap *structs.LogGap
	if len(segments) > 0 {
		gap = &structs.LogGap{Chain: short(old), Next: short(chain), To: start - 1, Reason: reason, Time: time.Now().UTC()}
		for _, s := range segments {
			if s.Chain == gap.Chain && s.Last >= gap.From {
				gap.From = s.Last + 1
			}
		}
	}
	if gap != nil && gap.From > 0 { // else nothing of the old chain had arrived
		a.config.Logger.Warn("the archived log has a gap: a backup closes it", "gap", gap)
		if err := writeGap(ctx, a.config.Target, gap); err != nil {
			a.config.Logger.Warn("cannot record the gap", "error", err)
		}
	}
	gaps, err := readGaps(ctx, a.config.Target)
	if err != nil && gap != nil {
		gaps = []structs.LogGap{*gap}
	}
	a.chain, a.next = chain, start
	a.note(func(s *structs.LogArchiveStatus) {
		*s = structs.LogArchiveStatus{Chain: chain, Index: start - 1, AwaitBackup: true, Gaps: gaps}
	})
	a.config.Logger.Info("archiving the log, in a new chain", "chain", chain, "from", start)
	return nil
}

// backed reports whether there is a backup that the chain can be applied to. Two
// leaders' clocks may differ, so it does not look at the time too closely: the
// time only tells such a backup from one of the future that a cluster has lost
// with its quorum.
func (a *Archiver) backed(ctx context.Context, chain string, start uint64) (bool, error) {
	backups, err := goodBackups(ctx, a.config.Target)
	return slices.ContainsFunc(backups, func(b structs.BackupRecord) bool {
		return b.ClusterID == a.config.Source.ClusterID() && b.Index >= start && !b.Time.Before(begun(chain).Add(-pruneMargin))
	}), err
}

// takeBackups has a backup taken when a chain has none. It goes its own way:
// a backup may take long, and archiving must not wait for it.
func (a *Archiver) takeBackups(ctx context.Context) {
	every := time.NewTicker(max(a.config.Lag/2, time.Millisecond))
	defer every.Stop()
	var wait time.Time
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		status := a.Status()
		if !status.AwaitBackup || time.Now().Before(wait) || !a.config.Source.IsLeader() {
			continue
		}
		before, _ := a.config.Source.LogChain()
		if err := a.config.Backup(ctx); err != nil {
			a.config.Logger.Warn("cannot take the backup that a new chain of the log needs", "error", err)
			wait = time.Now().Add(backupRetry)
			continue
		}
		chain, _ := a.config.Source.LogChain()
		a.note(func(s *structs.LogArchiveStatus) {
			if s.Chain == chain && before == chain { // so the state that was backed up names it
				s.AwaitBackup = false
			}
		})
	}
}

// sweep forgets segments that no backup needs: what was stored before the oldest
// backup was taken.
func (a *Archiver) sweep(ctx context.Context) {
	if now := time.Now(); now.After(a.prune) {
		a.prune = now.Add(pruneEvery)
		chain, start := a.config.Source.LogChain()
		if err := Prune(ctx, a.config.Target, a.config.Source.ClusterID(), chain, start); err != nil {
			a.config.Logger.Warn("cannot delete old segments of the log", "error", err)
		}
	}
}

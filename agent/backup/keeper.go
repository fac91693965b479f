package backup

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	metrics "github.com/hashicorp/go-metrics/compat"

	"praetor/rpcserver"
	"praetor/structs"
)

const (
	firstPause  = 10 * time.Second // after a failure; doubles with each
	longPause   = 10 * time.Minute
	stallTime   = 5 * time.Minute // without a byte going either way, an attempt is given up; a part of an upload goes in one
	hangTime    = 5 * time.Second // for an attempt that was given up to notice
	gaugeEvery  = 10 * time.Second
	clockMargin = time.Minute    // by which servers' clocks may differ before their backups do not count for what is due
	remainderOf = 24 * time.Hour // age at which what was never finished is swept up
)

// Settings are what a Keeper works by.
type Settings struct {
	Target   Target
	URL      string // of the target, for people
	Schedule Schedule
	Keep     int           // good backups; 0 is no limit
	KeepFor  time.Duration // 0 is no limit
	Server   string        // node name
	Version  string
	Sealed   bool
	Logger   hclog.Logger
}

// Keeper takes backups while its server leads the cluster: an
// rpcserver.Backups. What is due follows from the backups at the target, so a
// new leader goes on where the last one was, and makes good what that one did
// not finish. Nothing a target does is felt outside of the Keeper.
type Keeper struct {
	Settings
	busy   chan struct{} // holds one token while an attempt is under way, even one that hangs
	wanted chan struct{} // somebody asked for a backup
	held   chan struct{} // closed when backups may be taken

	mu     sync.Mutex // guards the fields below
	status structs.BackupStatus
	until  uint64 // attempts up to this number were asked for
}

var _ rpcserver.Backups = (*Keeper)(nil)

// New returns a Keeper for a server that does not lead yet.
func New(s Settings) *Keeper {
	if s.Logger == nil {
		s.Logger = hclog.NewNullLogger()
	}
	k := &Keeper{Settings: s, busy: make(chan struct{}, 1), wanted: make(chan struct{}, 1), held: make(chan struct{})}
	close(k.held)
	return k
}

// Hold lets no backup be taken until release is called: what there is now is
// about to be replaced, and not worth one. Call it before the server starts.
func (k *Keeper) Hold() (release func()) {
	if k == nil {
		return func() {}
	}
	k.held = make(chan struct{})
	return sync.OnceFunc(func() { close(k.held) })
}

// Status is how things are as far as this server knows, which is the whole truth
// only while it leads.
func (k *Keeper) Status() structs.BackupStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	s.Target, s.Schedule, s.Encrypted = k.URL, k.Schedule.String(), k.Sealed
	return s
}

// Run asks for a backup now and returns the number of the attempt that will be
// it: one that begins later than this.
func (k *Keeper) Run() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.until = k.status.Started + 1
	select {
	case k.wanted <- struct{}{}:
	default:
	}
	return k.until
}

// Lead takes backups until ctx ends.
func (k *Keeper) Lead(ctx context.Context, clusterID string, take func(context.Context) (*rpcserver.Archive, error)) {
	select {
	case <-k.held:
	case <-ctx.Done():
		return
	}
	k.mu.Lock() // attempts go on being counted: those who wait for one compare
	k.status.Failures, k.status.Next = 0, time.Now()
	k.mu.Unlock()
	defer k.report(func(s *structs.BackupStatus) {
		k.giveUp(s)
		s.Next = time.Time{}
	})
	gauges := time.NewTicker(gaugeEvery)
	defer gauges.Stop()
	l := &lead{Keeper: k, clusterID: clusterID, take: take}
	for {
		timer := time.NewTimer(time.Until(k.Status().Next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-gauges.C:
			timer.Stop()
			k.gauge()
			continue
		case <-k.wanted:
			timer.Stop()
		case <-timer.C:
		}
		l.turn(ctx, gauges.C)
		k.gauge()
	}
}

// giveUp ends the attempt under way, and all that were asked for.
func (k *Keeper) giveUp(s *structs.BackupStatus) {
	s.Started = max(s.Started, k.until)
	s.Running, s.Finished = false, s.Started
}

func (k *Keeper) report(change func(*structs.BackupStatus)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.status)
}

// gauge reports figures. The last good backup is known once the target has
// been looked at.
func (k *Keeper) gauge() {
	s := k.Status()
	metrics.SetGauge([]string{"backup", "failures"}, float32(s.Failures))
	if s.Last == nil {
		return
	}
	metrics.SetGauge([]string{"backup", "age_seconds"}, float32(time.Since(s.Last.Time).Seconds()))
	metrics.SetGauge([]string{"backup", "size_bytes"}, float32(s.Last.Size))
	metrics.SetGauge([]string{"backup", "index"}, float32(s.Last.Index))
	metrics.SetGauge([]string{"backup", "count"}, float32(s.Backups))
}

// lead is the time of one leadership.
type lead struct {
	*Keeper
	clusterID string
	take      func(context.Context) (*rpcserver.Archive, error)
}

// turn looks at the target, takes a backup if one is due, and decides when to
// look again. It comes back soon after ctx has ended or the target has stalled,
// whatever the target does.
func (l *lead) turn(ctx context.Context, gauges <-chan time.Time) {
	select {
	case l.busy <- struct{}{}:
	default:
		l.failed(structs.Errorf(structs.Busy, "an earlier attempt still hangs at the target"))
		return
	}
	a := newAttempt(ctx, l)
	done := make(chan error, 1)
	go func() {
		err := a.run()
		<-l.busy
		done <- err
	}()
	err := a.await(done, gauges)
	a.end()
	switch {
	case ctx.Err() != nil: // somebody else's now
	case err != nil:
		l.failed(err)
	default:
		l.report(func(s *structs.BackupStatus) {
			if s.Running { // who asked meanwhile wants another one, of a later state
				s.Running, s.Finished, s.Succeeded = false, s.Started, s.Started
			}
			s.Failures = 0
			s.Next = l.due(s.Last)
		})
	}
}

// due is when the next backup is, after the last good one: at once if there is none.
func (l *lead) due(last *structs.BackupRecord) time.Time {
	now := time.Now()
	if last == nil {
		return now
	}
	at := last.Time
	if at.After(now) {
		at = now // another server's clock is ahead
	}
	return l.Schedule.Next(at)
}

func (l *lead) failed(err error) {
	now := time.Now()
	var failures int
	var next time.Time
	l.report(func(s *structs.BackupStatus) {
		l.giveUp(s) // even if nothing was begun: those who wait must hear
		s.Failures++
		s.LastError, s.LastErrorTime = err.Error(), now
		s.Next = now.Add(min(firstPause<<min(s.Failures-1, 10), longPause))
		failures, next = s.Failures, s.Next
	})
	metrics.IncrCounter([]string{"backup", "errors"}, 1)
	l.Logger.Error("the backup did not work, will try again", "target", l.URL, "error", err, "failures", failures, "next", next.Format(time.RFC3339))
}

package rpcserver

import (
	"context"
	"sync/atomic"
	"time"
)

// pauses notices that this process has stood still: SIGSTOP, a virtual machine
// that was moved, no processor to run on. When it runs again, it may take itself
// for the leader for some milliseconds, until raft has looked at its lease, while
// others have long elected another. Default reads trust the lease, so around a
// pause they prove leadership first.
type pauses struct {
	tolerated time.Duration // a shorter pause cannot have outlived the lease
	since     time.Time     // times below are nanoseconds from then on, by the monotonic clock
	beat      atomic.Int64  // when we last ran
	doubted   atomic.Int64  // until when the lease is not trusted
}

// startPauses begins to watch, for a leader with this lease.
func startPauses(lease time.Duration) *pauses {
	return &pauses{tolerated: lease / 2, since: time.Now()}
}

// watch beats until ctx ends.
func (p *pauses) watch(ctx context.Context) {
	tick := time.NewTicker(p.tolerated / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.beatAt(time.Since(p.since))
		case <-ctx.Done():
			return
		}
	}
}

func (p *pauses) beatAt(now time.Duration) {
	if p.lateAt(now) {
		p.doubted.Store(int64(now + 4*p.tolerated)) // by then raft has looked
	}
	p.beat.Store(int64(now))
}

func (p *pauses) lateAt(now time.Duration) bool {
	return now-time.Duration(p.beat.Load()) > p.tolerated
}

// stoodStill reports whether the lease may be over without our knowing.
func (p *pauses) stoodStill() bool {
	if p == nil {
		return true // we have just begun to lead
	}
	return p.stoodStillAt(time.Since(p.since))
}

func (p *pauses) stoodStillAt(now time.Duration) bool {
	return p.lateAt(now) || int64(now) < p.doubted.Load()
}

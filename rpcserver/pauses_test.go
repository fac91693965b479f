package rpcserver

import (
	"testing"
	"time"
)

// While a process beats in time its lease is trusted. From the moment that a beat
// is late, however the first read afterwards and the next beat fall, it is not,
// until raft has had time to look.
func TestPauses(t *testing.T) {
	const ms = time.Millisecond
	p := startPauses(400 * ms)
	for now := time.Duration(0); now <= 1000*ms; now += 50 * ms {
		p.beatAt(now)
		if p.stoodStillAt(now + 49*ms) {
			t.Fatalf("at %v: a lease that is kept is not trusted", now)
		}
	}
	for _, tt := range []struct {
		at   time.Duration
		beat bool
		want bool
	}{
		{1200 * ms, false, false},
		{1201 * ms, false, true}, // runs again, and the read comes first
		{4000 * ms, false, true},
		{4000 * ms, true, true}, // the beat comes first
		{4799 * ms, true, true},
		{5700 * ms, true, true}, // late once more
	} {
		if tt.beat {
			p.beatAt(tt.at)
		}
		if got := p.stoodStillAt(tt.at); got != tt.want {
			t.Errorf("at %v: got %v, want %v", tt.at, got, tt.want)
		}
	}
	for now := 5750 * ms; now <= 6500*ms; now += 50 * ms {
		p.beatAt(now)
	}
	if p.stoodStillAt(6500 * ms) {
		t.Error("the lease is not trusted again")
	}
}

package cluster_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil/cluster"
)

// writers write keys of their own, one after another, through any server, and
// remember which writes were acknowledged.
type writers struct {
	stop  chan struct{}
	wg    sync.WaitGroup
	round atomic.Int64 // goes up with each reset
	mu    sync.Mutex   // guards the fields below
	acked map[string]string
	last  time.Time     // of the last acknowledgement
	gap   time.Duration // longest between two
	wrong []error       // refusals that no client should see
}

// pace is how long a writer rests after each write.
const pace = 100 * time.Millisecond

func startWriters(c *cluster.Cluster, n int) *writers {
	w := &writers{stop: make(chan struct{}), acked: map[string]string{}, last: time.Now()}
	for i := range n {
		kv := c.Client().KV()
		w.wg.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-w.stop:
					return
				case <-time.After(pace):
				}
				key, value, round := fmt.Sprintf("w%d/%04d", i, j), fmt.Sprint(i*j), w.round.Load()
				w.note(round, key, value, kv.Put(context.Background(), key, []byte(value)))
			}
		})
	}
	return w
}

func (w *writers) note(round int64, key, value string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil && round != w.round.Load():
	case err == nil:
		w.acked[key] = value
		w.gap = max(w.gap, time.Since(w.last))
		w.last = time.Now()
	case structs.IsCode(err, structs.Unclear), structs.IsCode(err, structs.NoLeader), structs.IsCode(err, structs.Unreachable):
	default:
		w.wrong = append(w.wrong, fmt.Errorf("put %s: %w", key, err))
	}
}

// reset forgets what was acknowledged so far, and whatever is still on its way.
func (w *writers) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.round.Add(1)
	clear(w.acked)
	w.last = time.Now()
}

// finish stops the writers and fails if an acknowledged write is not there. It
// returns the longest time between two acknowledgements.
func (w *writers) finish(t testing.TB, c *cluster.Cluster) time.Duration {
	t.Helper()
	close(w.stop)
	w.wg.Wait()
	for _, err := range w.wrong {
		t.Error(err)
	}
	if len(w.acked) == 0 {
		t.Error("no write was acknowledged")
	}
	c.Agree()
	r := c.Leader().FSM().Store().Read()
	lost := 0
	for key, value := range w.acked {
		if e := r.KV(key); e == nil || string(e.Value) != value {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(w.acked))
	}
	t.Logf("%d writes acknowledged, longest gap %v", len(w.acked), w.gap)
	return w.gap
}

// Whatever crashes, acknowledged writes are there afterwards.
func TestFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		w := startWriters(c, 8)
		for range 3 {
			time.Sleep(time.Second)
			leader := c.Leader()
			leader.Crash()
			time.Sleep(4 * time.Second)
			leader.Start()
		}
		if gap := w.finish(t, c); gap > 15*time.Second {
			t.Errorf("nothing was written for %v, want less than 15s", gap)
		}
	})
}

// Of two writes to the same key, the reader never sees the older one again:
// counters are only ever raised by compare-and-set, each step once.
func TestCompareAndSetUnderFailover(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		sure, unclear := 0, 0
		for range 4 {
			kv := c.Client().KV()
			wg.Go(func() {
				for range 30 {
					time.Sleep(50 * time.Millisecond)
					entry, _, err := kv.Get(context.Background(), "counter", &structs.QueryOptions{RequireConsistent: true})
					if err != nil {
						continue
					}
					n, index := 0, uint64(0)
					if entry != nil {
						fmt.Sscan(string(entry.Value), &n)
						index = entry.ModifyIndex
					}
					done, err := kv.CAS(context.Background(), "counter", fmt.Append(nil, n+1), index)
					mu.Lock()
					if err != nil {
						unclear++
					} else if done {
						sure++
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		leader := c.Leader()
		leader.Crash()
		wg.Wait()
		leader.Start()
		var got int
		fmt.Sscan(c.Get("counter"), &got)
		if got < sure || got > sure+unclear {
			t.Errorf("counter is %d, want %d to %d", got, sure, sure+unclear)
		}
		t.Logf("counter %d, %d sure, %d unclear", got, sure, unclear)
	})
}

package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"praetor/testutil"
	"praetor/testutil/bench"
)

const (
	someKeys = 200_000
	manyKeys = 1_000_000
	settling = 30 * time.Second
)

// Rows of many keys. The first loads them; the others load them if it was not asked for.

func bigKey(i int) string { return fmt.Sprintf("big/key-%07d", i) }

// keys is n, or a tenth of it in a quick run.
func (s *stage) keys(n int) int {
	if s.quick {
		return n / 10
	}
	return n
}

// big is a server of each that holds n keys at least.
func (s *stage) big(n int) *pair {
	p := s.use("big", func() *pair {
		s.loaded = 0
		return &pair{[]*testutil.Process{s.ourServer()}, s.etcds(1)}
	})
	if from := s.loaded; from < n {
		s.loaded = n
		kv, etcd, value := p.ours[0].Client().KV(), p.clients()[0], string(bench.Value)
		bench.Each(s.B, 4*bench.Callers, n-from, func(i int) error {
			return kv.Put(context.Background(), bigKey(from+i), bench.Value)
		})
		bench.Each(s.B, 4*bench.Callers, n-from, func(i int) error {
			_, err := etcd.Put(context.Background(), bigKey(from+i), value)
			return err
		})
	}
	return p
}

func rowMemory(s *stage) {
	some, many := s.keys(someKeys), s.keys(manyKeys)
	resident := func(keys int) (ours, etcds float64) {
		p := s.big(keys)
		if !s.quick {
			time.Sleep(settling)
		}
		if s.profileDir != "" {
			if err := bench.Fetch("http://"+p.addrs()[0]+"/debug/pprof/heap", s.nextProfile(0)); err != nil {
				s.Error(err)
			}
		}
		return float64(bench.Resident(s, p.ours[0].PID())) / 1e6, float64(bench.Resident(s, p.etcds[0].pid())) / 1e6
	}
	ours, etcds := resident(some)
	s.add(fmt.Sprintf("resident with %d keys, MB", some), "%.0f", ours, etcds, atMost(1.2))
	grown, etcdsGrown := resident(many)
	s.add(fmt.Sprintf("resident with %d keys, MB", many), "%.0f", grown, etcdsGrown)
	s.add("of that with a fifth of them", "%.2f", grown/ours, etcdsGrown/etcds, within(5, "×"))
}

// rowStart is about a server that was killed with all keys.
func rowStart(s *stage) {
	many := s.keys(manyKeys)
	p := s.big(many)
	s.awaitSnapshot(p.ours[0], many)
	stream := bench.KeyStream(s, many)
	var floors, ours, etcds []float64
	for range s.rounds {
		start := time.Now()
		if err := bench.DecodeStream(stream); err != nil {
			s.Fatal(err)
		}
		floors = append(floors, time.Since(start).Seconds())
	}
	stream = nil
	o, e := p.ours[0], p.etcds[0]
	c := o.Client()
	answered := func() {
		untilDone(func(ctx context.Context) error {
			entry, _, err := c.KV().Get(ctx, bigKey(many-1), nil)
			if err == nil && entry == nil {
				s.Fatal("the last key is lost")
			}
			return err
		})
	}
	for range s.rounds {
		o.Kill()
		start := time.Now()
		o.Start()
		answered()
		ours = append(ours, time.Since(start).Seconds())

		e.kill()
		start = time.Now()
		e.start()
		etcd := e.client()
		untilDone(func(ctx context.Context) error {
			_, err := etcd.Get(ctx, bigKey(many-1))
			return err
		})
		etcds = append(etcds, time.Since(start).Seconds())
	}
	if s.profileDir != "" { // by perf: a server that starts does not answer yet
		o.Kill()
		o.Start()
		perf := exec.Command("perf", "record", "-q", "-g", "-e", "cpu-clock", "-F", "199",
			"-o", filepath.Join(s.profileDir, "start.perf"), "-p", fmt.Sprint(o.PID()))
		if err := perf.Start(); err != nil {
			s.Fatal(err)
		}
		answered()
		perf.Process.Signal(os.Interrupt)
		perf.Wait() // its exit code is that of the signal
	}
	s.add(fmt.Sprintf("start-up with %d keys after kill -9, beside decoding as many, s", many), "%.2f", bench.Median(ours), bench.Median(floors), atMost(3))
	s.add("the same beside etcd's, s", "%.2f", bench.Median(ours), bench.Median(etcds))
}

// awaitSnapshot waits until a server that was just loaded with n keys has made a snapshot of nearly all, which it does by
// itself once in a while, so that it is the snapshot that is measured and not a long log.
func (s *stage) awaitSnapshot(o *testutil.Process, n int) {
	const trailing = 17_000 // after fewer entries than this a server makes no new one (raft_snapshot_threshold: 16,384)
	testutil.Eventually(s, 2*time.Minute, "a snapshot of what was loaded", func() error {
		made, err := filepath.Glob(filepath.Join(o.Dir, "raft", "snapshots", "*-*-*"))
		for _, path := range made {
			var term, index int // the name is term-index-time
			if _, err := fmt.Sscanf(filepath.Base(path), "%d-%d-", &term, &index); err == nil && index+trailing >= n && !strings.HasSuffix(path, ".tmp") {
				return nil
			}
		}
		return fmt.Errorf("there are %v (%v)", made, err)
	})
}

// untilDone tries until it succeeds, a second at a time.
func untilDone(try func(ctx context.Context) error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// rowGrowth compares the cost of an operation with what it is on a server with few keys and few clients.
func rowGrowth(s *stage) {
	many := s.keys(manyKeys)
	big := s.big(many)
	small := &pair{ours: []*testutil.Process{s.ourServer()}}
	defer small.kill()
	kv := small.ours[0].Client().KV()
	bench.Each(s, bench.Callers, bench.Keys, func(i int) error { return kv.Put(context.Background(), bench.KeyName(i), bench.Value) })

	spread := func(i int) int { return i * 7919 % many } // all over the keys
	bigGet := func(_, i int) error {
		return bench.Answer(s.web.Get("http://" + big.addrs()[0] + "/v1/kv/" + bigKey(spread(i))))
	}
	bigPut := bench.HTTPPutKey(s.web, func(i int) string { return bigKey(spread(i)) }, big.addrs()...)
	crowd := func(op bench.Op) *load {
		l := small.our(op)
		l.callers = manyCallers
		return l
	}
	put, get := bench.HTTPPut(s.web, small.addrs()...), bench.HTTPGet(s.web, "", small.addrs()...)
	for _, of := range []struct {
		name           string
		few, keys, all *load
	}{
		{"PUT", small.our(put), big.our(bigPut), crowd(put)},
		{"GET default", small.our(get), big.our(bigGet), crowd(get)},
	} {
		of.few.who, of.keys.who, of.all.who = "10,000 keys, 64 clients", fmt.Sprintf("%d keys", many), fmt.Sprintf("%d clients", manyCallers)
		of.few.profiled = nil
		r := s.alternate(of.name+", growth", of.few, of.keys, of.all)
		base := bench.Micros(r[0].Peer)
		s.add(fmt.Sprintf("%s with %d keys: server CPU, µs, beside 10,000 keys and 64 clients", of.name, many), "%.1f", bench.Micros(r[1].Peer), base, atMost(1.3))
		s.add(fmt.Sprintf("%s with %d clients: the same", of.name, manyCallers), "%.1f", bench.Micros(r[2].Peer), base, atMost(1.3))
	}
}

package peers

import (
	"context"
	"fmt"
	"os"
	"time"

	"praetor/testutil"
	"praetor/testutil/bench"
)

const (
	waiters    = 10_000
	waitedName = "waited/key"
)

// rowWaiters is about clients that wait for one key, and about what is left when they hang up.
func rowWaiters(s *stage) {
	s.stop()
	p := testutil.NewProcess(s, s.flags("-bootstrap", "-hcl=enable_debug = true")...)
	p.Start()
	p.AwaitLeader()
	defer p.Kill()
	kv := p.Client().KV()
	put := func(i int) {
		if err := kv.Put(context.Background(), waitedName, fmt.Append(nil, i)); err != nil {
			s.Fatal(err)
		}
	}
	put(0)
	_, meta, err := kv.Get(context.Background(), waitedName, nil)
	if err != nil {
		s.Fatal(err)
	}
	before, files := bench.MemoryOf(s, p), descriptors(s, p.PID())

	ws := bench.OpenWatchers(s, p, bench.BlockingQuery(waitedName), waiters, meta.Index)
	time.Sleep(2 * time.Second)
	during := bench.MemoryOf(s, p)
	wake := func(i int) {
		start := time.Now()
		put(i)
		ws.Await(start)
		time.Sleep(time.Second) // until the last wait again
	}
	var costs []float64
	for i := range s.rounds {
		cpu := bench.CPU(s, p.PID())
		wake(i + 1)
		costs = append(costs, bench.Micros(bench.CPU(s, p.PID())-cpu)/waiters/1000)
	}
	if s.profileDir != "" {
		s.profileWhile([]string{p.HTTPAddr()}, func() {
			for start, i := time.Now(), s.rounds; time.Since(start) < profileTime; i++ {
				wake(i + 1)
			}
		})
	}
	woken := float64(bench.Resident(s, p.PID())) / 1024
	ws.Close()
	time.Sleep(time.Second)
	left := descriptors(s, p.PID()) - files
	resident := float64(bench.Resident(s, p.PID())) / 1024
	after := bench.MemoryOf(s, p)

	s.add(fmt.Sprintf("%d blocked GETs on one key: resident, kB a waiter", waiters), "%.1f", (during.RSS-before.RSS)*1.024/waiters, 0, within(20, "kB"))
	s.add("their CPU for a notification, the next request included, ms", "%.3f", bench.Median(costs), 0, within(0.03, "ms"))
	s.add("1 s after they hang up: descriptors left", "%.0f", float64(left), 0, within(10, "of 10,000"))
	s.add("goroutines left", "%.0f", after.Goroutines-before.Goroutines, 0, within(20, "of 20,000"))
	s.add("of what was resident above idle after the last notification, left", "%.2f", (resident-before.RSS)/(woken-before.RSS), 0, within(0.1, "of it"))
	s.add("of what Go had in use, left after a collection", "%.2f", (after.InUse-before.InUse)/(during.InUse-before.InUse), 0)
}

func descriptors(s *stage, pid int) int {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		s.Fatal(err)
	}
	return len(files)
}

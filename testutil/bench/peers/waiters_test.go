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
	var told, asked []float64 // ms of CPU for each waiter
	wake := func(i int) {
		cpu := bench.CPU(s, p.PID())
		since := func() float64 {
			before := cpu
			cpu = bench.CPU(s, p.PID())
			return bench.Micros(cpu-before) / waiters / 1000
		}
		start, release := time.Now(), ws.Hold()
		put(i)
		ws.Await(start)
		time.Sleep(100 * time.Millisecond) // until the last connection waits for a request
		told = append(told, since())
		release()
		time.Sleep(time.Second) // until the last waits again
		asked = append(asked, since())
	}
	for i := range s.rounds {
		wake(i + 1)
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
	s.add("their CPU for a notification, ms", "%.3f", bench.Median(told), 0, within(0.03, "ms"))
	s.add("and for the next request, ms", "%.3f", bench.Median(asked), 0)
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

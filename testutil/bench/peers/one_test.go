package peers

import (
	"slices"
	"time"

	"praetor/testutil/bench"
)

// Rows of one server of each kind.

func rowPut(s *stage) {
	p := s.one()
	r := s.alternate("PUT", p.our(bench.HTTPPut(s.web, p.addrs()...)), p.their(etcdPut(p.clients())))
	s.add("HTTP PUT, one server: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(1.5))
	s.add("its server CPU, µs", "%.1f", bench.Micros(r[0].Peer), bench.Micros(r[1].Peer), atMost(0.6))
}

func rowGet(s *stage) {
	p := s.one()
	r := s.alternate("GET", p.our(bench.HTTPGet(s.web, "", p.addrs()...)), p.their(etcdGet(p.clients())))
	s.add("HTTP GET default, one server, beside linearizable gets: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(3))
	s.add("its server CPU, µs", "%.1f", bench.Micros(r[0].Peer), bench.Micros(r[1].Peer), atMost(0.2))
}

func rowApply(s *stage) {
	p := s.one()
	floor := &load{who: "floor", op: bench.Floor(s.B), callers: bench.Callers}
	r := s.alternate("KV.Apply", p.our(bench.RPCPut(p.ours[0].Client())), floor)
	s.add("KV.Apply, Go client, one connection, beside the empty-FSM floor: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(0.5))
}

func rowKVGet(s *stage) {
	p := s.one()
	r := s.alternate("KV.Get", p.our(bench.RPCGet(p.ours[0].Client())), p.their(etcdGet(p.clients())))
	s.add("KV.Get, Go client, one connection, beside linearizable gets: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(4))
}

// rowLatency is about a client that waits for each write.
func rowLatency(s *stage) {
	p := s.one()
	puts := []bench.Op{bench.HTTPPut(s.web, p.addrs()...), etcdPut(p.clients())}
	medians := make([][]float64, len(puts))
	for range s.rounds {
		for n, put := range puts {
			var times []time.Duration
			for start, i := time.Now(), 0; time.Since(start) < s.runTime; i++ {
				begun := time.Now()
				if err := put(0, i); err != nil {
					s.Fatal(err)
				}
				times = append(times, time.Since(begun))
			}
			slices.Sort(times)
			medians[n] = append(medians[n], bench.Micros(times[len(times)/2])/1000)
		}
	}
	s.add("HTTP PUT, one client: median, ms", "%.2f", bench.Median(medians[0]), bench.Median(medians[1]), atMost(1.2))
}

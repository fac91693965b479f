package peers

import "praetor/testutil/bench"

// Rows of one server of each kind.

func rowPut(s *stage) {
	p := s.one()
	web := bench.Web(bench.Callers)
	defer web.CloseIdleConnections()
	r := s.alternate("PUT", bench.Callers, p.our(bench.HTTPPut(web, p.addrs()...)), p.their(etcdPut(p.clients())))
	s.add("HTTP PUT, one server: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(1.5))
	s.add("its server CPU, µs", "%.1f", bench.Micros(r[0].Peer), bench.Micros(r[1].Peer), atMost(0.6))
}

func rowGet(s *stage) {
	p := s.one()
	web := bench.Web(bench.Callers)
	defer web.CloseIdleConnections()
	r := s.alternate("GET", bench.Callers, p.our(bench.HTTPGet(web, "", p.addrs()...)), p.their(etcdGet(p.clients())))
	s.add("HTTP GET default, one server, beside linearizable gets: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(3))
	s.add("its server CPU, µs", "%.1f", bench.Micros(r[0].Peer), bench.Micros(r[1].Peer), atMost(0.2))
}

func rowApply(s *stage) {
	p := s.one()
	floor := &load{who: "floor", op: bench.Floor(s.B)}
	r := s.alternate("KV.Apply", bench.Callers, p.our(bench.RPCPut(p.ours[0].Client())), floor)
	s.add("KV.Apply, Go client, one connection, beside the empty-FSM floor: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(0.5))
}

func rowKVGet(s *stage) {
	p := s.one()
	r := s.alternate("KV.Get", bench.Callers, p.our(bench.RPCGet(p.ours[0].Client())), p.their(etcdGet(p.clients())))
	s.add("KV.Get, Go client, one connection, beside linearizable gets: per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(4))
}

package peers

import (
	clientv3 "go.etcd.io/etcd/client/v3"

	"praetor/testutil/bench"
)

// Rows of three servers of each kind, with the callers spread over all.

func rowPut3(s *stage) {
	p := s.three()
	s.beside("PUT, three servers", p.our(bench.HTTPPut(s.web, p.addrs()...)), p.their(etcdPut(p.clients())), 1.5)
}

// rowGet3 is about reads in one of our modes, beside those of etcd.
func rowGet3(name, mode string, opts ...clientv3.OpOption) func(*stage) {
	return func(s *stage) {
		p := s.three()
		s.beside(name+", three servers", p.our(bench.HTTPGet(s.web, mode, p.addrs()...)), p.their(etcdGet(p.clients(), opts...)), 2)
	}
}

func (s *stage) beside(name string, our, their *load, least float64) {
	r := s.alternate(name, our, their)
	s.add(name+": per second", "%.0f", r[0].PerSecond, r[1].PerSecond, atLeast(least))
	s.add("its CPU of all servers, µs", "%.1f", bench.Micros(r[0].Peer), bench.Micros(r[1].Peer))
}

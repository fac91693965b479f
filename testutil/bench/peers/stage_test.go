package peers

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"praetor/testutil"
	"praetor/testutil/bench"
)

const (
	manyCallers = 1000 // where not bench.Callers
	warmUp      = 500 * time.Millisecond
	runTime     = 3 * time.Second
	profileTime = 10 * time.Second // a core at 100 samples a second makes 1,000
)

// stage is what the rows of one run share.
type stage struct {
	*testing.B
	table
	row        string // that is running
	quick      bool
	rounds     int
	runTime    time.Duration
	profileDir string
	web        *http.Client // a connection for each caller
	kind       string       // of the pair that runs
	pair       *pair
	loaded     int // keys in the pair "big"
}

// pair is a cluster of each kind.
type pair struct {
	ours  []*testutil.Process
	etcds []*etcd
}

func newStage(b *testing.B) *stage {
	s := &stage{B: b, rounds: 3, runTime: runTime, profileDir: os.Getenv("PROFILE"), web: bench.Web(manyCallers)}
	if s.quick = os.Getenv("QUICK") != ""; s.quick {
		s.rounds, s.runTime = 1, time.Second
	}
	if s.profileDir != "" {
		if err := os.MkdirAll(s.profileDir, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// use returns the pair of a kind. Only one pair runs at a time, so that no other takes part in what is measured.
func (s *stage) use(kind string, start func() *pair) *pair {
	if s.kind != kind {
		s.stop()
		s.kind, s.pair = kind, start()
	}
	return s.pair
}

func (s *stage) stop() {
	if s.pair != nil {
		s.pair.kill()
	}
	s.kind, s.pair = "", nil
	s.web.CloseIdleConnections()
}

// one is a server of each, with all keys.
func (s *stage) one() *pair {
	return s.use("one", func() *pair { return s.fill(&pair{[]*testutil.Process{s.ourServer()}, s.etcds(1)}) })
}

// three is a cluster of three servers of each, with all keys.
func (s *stage) three() *pair {
	return s.use("three", func() *pair { return s.fill(&pair{s.ourServers(), s.etcds(3)}) })
}

// ourServer starts a server that is a cluster of its own.
func (s *stage) ourServer() *testutil.Process {
	p := testutil.NewProcess(s.B, s.flags("-bootstrap")...)
	p.Start()
	p.AwaitLeader()
	return p
}

// ourServers starts a cluster of three.
func (s *stage) ourServers() []*testutil.Process {
	servers := s.newServers()
	for _, p := range servers {
		p.Start()
	}
	for _, p := range servers {
		p.AwaitLeader()
	}
	return servers
}

// newServers prepares a cluster of three, each of which is told where all are: those that a server finds when it starts
// depend on which of them listen by then, and it looks again only after retry_interval.
func (s *stage) newServers() (servers []*testutil.Process) {
	flags, ports := s.flags("-bootstrap-expect=3"), testutil.FreePorts(s, 3)
	for _, port := range ports {
		flags = append(flags, fmt.Sprintf("-retry-join=127.0.0.1:%d", port))
	}
	for _, port := range ports {
		p := testutil.NewProcess(s, flags...)
		p.Serf = port
		servers = append(servers, p)
	}
	return servers
}

// flags are the defaults but for what a bench needs: clients that all come from one address, and profiles if they are
// asked for.
func (s *stage) flags(more ...string) []string {
	flags := append([]string{"-log-level=warn", "-hcl=limits { http_max_conns_per_client = 0 }"}, more...)
	if s.profileDir != "" {
		flags = append(flags, "-hcl=enable_debug = true")
	}
	return flags
}

func (s *stage) etcds(n int) []*etcd {
	servers := newEtcds(s.B, n)
	for _, e := range servers {
		e.start()
	}
	for _, e := range servers {
		e.await()
	}
	return servers
}

// fill puts all keys into both.
func (s *stage) fill(p *pair) *pair {
	for _, put := range []bench.Op{bench.RPCPut(p.ours[0].Client()), etcdPut(p.clients())} {
		bench.Each(s.B, bench.Callers, bench.Keys, func(i int) error { return put(i, i) })
	}
	return p
}

func (p *pair) clients() []*clientv3.Client { return etcdClients(p.etcds) }

func (p *pair) kill() {
	for _, o := range p.ours {
		o.Kill()
	}
	for _, e := range p.etcds {
		e.kill()
	}
}

// addrs are the HTTP addresses of our servers.
func (p *pair) addrs() (addrs []string) {
	for _, o := range p.ours {
		addrs = append(addrs, o.HTTPAddr())
	}
	return addrs
}

// our is a load on our servers, their one that on etcd's.
func (p *pair) our(op bench.Op) *load {
	l := &load{who: "ours", op: op, callers: bench.Callers, profiled: p.addrs()}
	for _, o := range p.ours {
		l.pids = append(l.pids, o.PID())
	}
	return l
}

func (p *pair) their(op bench.Op) *load {
	l := &load{who: "etcd", op: op, callers: bench.Callers}
	for _, e := range p.etcds {
		l.pids = append(l.pids, e.pid())
	}
	return l
}

// load is one side of a comparison.
type load struct {
	who      string
	op       bench.Op
	callers  int
	pids     []int    // whose CPU counts
	profiled []string // HTTP addresses of servers that can make a profile
	all      []bench.Result
}

// alternate lets the loads take turns, and returns the median of each.
func (s *stage) alternate(name string, loads ...*load) []bench.Result {
	for range s.rounds {
		for _, l := range loads {
			bench.Run(s.B, l.callers, l.op, warmUp, l.pids...)
			l.all = append(l.all, bench.Run(s.B, l.callers, l.op, s.runTime, l.pids...))
		}
	}
	var medians []bench.Result
	for _, l := range loads {
		s.load(name, l.who, l.all)
		medians = append(medians, bench.MedianResult(l.all))
		if s.profileDir != "" && l.profiled != nil {
			s.profile(l)
		}
	}
	return medians
}

// profile makes a profile of our servers under a load. It does not count: profiling costs something.
func (s *stage) profile(l *load) {
	s.profileWhile(l.profiled, func() { bench.Run(s.B, l.callers, l.op, profileTime+time.Second, l.pids...) })
}

// profileWhile makes profiles of our servers, which takes profileTime, while something goes on.
func (s *stage) profileWhile(addrs []string, goesOn func()) {
	var fetching sync.WaitGroup
	for i, addr := range addrs {
		fetching.Go(func() {
			path := s.nextProfile(i)
			if err := bench.Fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", addr, profileTime.Seconds()), path); err != nil {
				s.Error(err)
			}
		})
	}
	goesOn()
	fetching.Wait()
}

// nextProfile is a file for a profile of a server. A row can make several of each.
func (s *stage) nextProfile(server int) string {
	for n := 0; ; n++ {
		path := filepath.Join(s.profileDir, fmt.Sprintf("%s-%d-server%d.pprof", s.row, n, server))
		if _, err := os.Stat(path); err != nil {
			return path
		}
	}
}

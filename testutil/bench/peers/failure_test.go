package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"praetor/testutil"
	"praetor/testutil/bench"
)

// Rows about servers that go and come. A client here starts a write every few milliseconds whatever became of those
// before it, so that one that hangs does not hide that others succeed.

const (
	probeEvery = 5 * time.Millisecond
	probeLimit = time.Minute
	repeats    = 5
)

// member is a server of either kind.
type member struct {
	start, kill func()
	stop        func() // asks it to, with SIGTERM, and waits until it is gone
	leads       func() bool
	put         func(ctx context.Context, i int) error
}

// ourMember is one of our servers, written to over HTTP.
func (s *stage) ourMember(p *testutil.Process) *member {
	return &member{
		start: p.Start,
		kill:  p.Kill,
		stop: func() {
			p.Signal(syscall.SIGTERM)
			p.Exit(probeLimit)
		},
		leads: func() bool {
			var leader string
			r, err := http.Get("http://" + p.HTTPAddr() + "/v1/status/leader")
			if err != nil {
				return false
			}
			defer r.Body.Close()
			return json.NewDecoder(r.Body).Decode(&leader) == nil && leader == p.RPCAddr()
		},
		put: func(ctx context.Context, i int) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+p.HTTPAddr()+"/v1/kv/"+bench.KeyName(i), bytes.NewReader(bench.Value))
			if err != nil {
				return err
			}
			return bench.Answer(s.web.Do(request))
		},
	}
}

// member is the server as rows about failures see it. It is connected to when it is first asked something.
func (e *etcd) member() *member {
	client := sync.OnceValue(e.client)
	return &member{
		start: e.start,
		kill:  e.kill,
		stop: func() {
			e.cmd.Process.Signal(syscall.SIGTERM)
			<-e.done
		},
		leads: func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			status, err := client().Status(ctx, e.addr)
			return err == nil && status.Leader == status.Header.MemberId
		},
		put: func(ctx context.Context, i int) error {
			_, err := client().Put(ctx, bench.KeyName(i), string(bench.Value))
			return err
		},
	}
}

// members are the servers of either kind, ours first.
func (s *stage) members(p *pair) (both [2][]*member) {
	for _, o := range p.ours {
		both[0] = append(both[0], s.ourMember(o))
	}
	for _, e := range p.etcds {
		both[1] = append(both[1], e.member())
	}
	return both
}

// leader is the one that leads, and the rest.
func leader(members []*member) (*member, []*member) {
	for {
		for i, m := range members {
			if m.leads() {
				return m, slices.Concat(members[:i], members[i+1:])
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ack is a write that was acknowledged.
type ack struct{ begun, done time.Time }

// probe writes to the members in turn until ctx ends, and sends what was acknowledged.
func probe(ctx context.Context, members []*member) <-chan ack {
	acks := make(chan ack, 100_000) // more than come in probeLimit
	go func() {
		var wait sync.WaitGroup
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			wait.Go(func() {
				begun := time.Now()
				if members[i%len(members)].put(ctx, i) == nil {
					acks <- ack{begun, time.Now()}
				}
			})
			<-tick.C
		}
		wait.Wait()
		close(acks)
	}()
	return acks
}

// firstAfter is the first write that was begun after a moment and acknowledged; the zero ack if there was none in time.
func firstAfter(acks <-chan ack, moment time.Time) ack {
	for a := range acks {
		if a.begun.After(moment) {
			return a
		}
	}
	return ack{}
}

// comeBack starts a server that is gone, and waits until the cluster is whole and quiet.
func comeBack(m *member) {
	m.start()
	untilDone(func(ctx context.Context) error { return m.put(ctx, 0) })
	time.Sleep(2 * time.Second)
}

// eachCluster does something to both clusters in turn, several times, and returns the medians of what it measures.
func (s *stage) eachCluster(do func(members []*member) float64) (ours, etcds float64) {
	clusters := s.members(s.three())
	var all [2][]float64
	for range s.repeats() {
		for kind, members := range clusters {
			all[kind] = append(all[kind], do(members))
		}
	}
	s.spread(all)
	return bench.Median(all[0]), bench.Median(all[1])
}

func (s *stage) repeats() int {
	if s.quick {
		return 1
	}
	return repeats
}

// spread says on the way what the medians are made of.
func (s *stage) spread(all [2][]float64) {
	s.Logf("%s: ours %.2f, etcd's %.2f", s.row, all[0], all[1])
}

// withoutLeader writes to the others while the leader is made to go, and returns what measure makes of the
// acknowledgements: those up to then wait in the channel, and more keep coming.
func (s *stage) withoutLeader(end func(lost *member), measure func(acks <-chan ack, start, gone time.Time) time.Duration) (ours, etcds float64) {
	return s.eachCluster(func(members []*member) float64 {
		lost, others := leader(members)
		ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
		defer cancel()
		acks := probe(ctx, others)
		time.Sleep(500 * time.Millisecond)
		start := time.Now()
		end(lost)
		took := measure(acks, start, time.Now())
		cancel()
		comeBack(lost)
		return took.Seconds()
	})
}

// rowKill is about a leader that is killed, and clients of the survivors.
func rowKill(s *stage) {
	ours, etcds := s.withoutLeader(func(lost *member) { lost.kill() }, func(acks <-chan ack, start, gone time.Time) time.Duration {
		first := firstAfter(acks, gone)
		if first == (ack{}) {
			s.Fatal("no write was acknowledged after the leader was killed")
		}
		return first.done.Sub(start)
	})
	s.add("kill -9 of the leader to the next acknowledged write, s", "%.2f", ours, etcds, atMost(1.3))
}

// rowTerm is about a leader that is stopped, and clients of the others.
func rowTerm(s *stage) {
	ours, etcds := s.withoutLeader(func(lost *member) { lost.stop() }, func(acks <-chan ack, start, _ time.Time) time.Duration {
		time.Sleep(2 * time.Second)
		return longestGap(acks, start)
	})
	s.add("SIGTERM of the leader, longest gap between acknowledged writes, s", "%.3f", ours, etcds, within(0.1, "s"))
}

// longestGap is the longest time without an acknowledgement that ended after a moment, among those that are there and
// until now.
func longestGap(acks <-chan ack, moment time.Time) (longest time.Duration) {
	done := []time.Time{time.Now()}
	for len(acks) > 0 {
		a := <-acks
		done = append(done, a.done)
	}
	slices.SortFunc(done, time.Time.Compare)
	for i, at := range done[1:] {
		if at.After(moment) {
			longest = max(longest, at.Sub(done[i]))
		}
	}
	return longest
}

// rowFresh is about three processes without data.
func rowFresh(s *stage) {
	s.stop()
	var all [2][]float64
	for range min(s.rounds, s.repeats()) {
		for kind, members := range s.members(&pair{s.newServers(), newEtcds(s, 3)}) {
			start := time.Now()
			for _, m := range members {
				m.start()
			}
			ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
			first := firstAfter(probe(ctx, members), start)
			cancel()
			if first == (ack{}) {
				s.Fatal("no write was acknowledged by fresh servers")
			}
			all[kind] = append(all[kind], first.done.Sub(start).Seconds())
			for _, m := range members {
				m.kill()
			}
		}
	}
	s.spread(all)
	s.add("three fresh processes to the first acknowledged write, s", "%.2f", bench.Median(all[0]), bench.Median(all[1]), within(3, "s"))
}

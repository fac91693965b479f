package vnet_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"praetor/testutil"
	"praetor/testutil/vnet"
)

const gossipPort = 8301

func (w world) gossip(ip string) memberlist.NodeAwareTransport {
	w.t.Helper()
	g, err := w.Host(ip).GossipTransport(gossipPort)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { g.Shutdown() })
	return g
}

func gossipAddr(ip string) string {
	return fmt.Sprintf("%s:%d", ip, gossipPort)
}

func TestPackets(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		a, b := w.gossip(ip1), w.gossip(ip2)
		send := func(s string) {
			t.Helper()
			buf := []byte(s)
			if _, err := a.WriteToAddress(buf, memberlist.Address{Addr: gossipAddr(ip2), Name: "b"}); err != nil {
				t.Errorf("send %q: %v", s, err)
			}
			clear(buf) // the caller may use it again
		}
		w.SetLink(ip1, ip2, vnet.Link{Delay: 20 * time.Millisecond})
		start := time.Now()
		send("ave")
		p := <-b.PacketCh()
		mustTake(t, p.Timestamp.Sub(start), 20*time.Millisecond)
		if string(p.Buf) != "ave" || p.From.String() != gossipAddr(ip1) {
			t.Errorf("got %q from %s", p.Buf, p.From)
		}

		w.Block(ip1, ip2)
		send("blocked")
		w.Heal()
		send("blocked on its way")
		w.Partition([]string{ip2})
		time.Sleep(time.Second)
		w.Heal()
		w.SetLink(ip1, ip2, vnet.Link{Loss: 1})
		send("lost")
		w.SetLink(ip1, ip2, vnet.Link{Loss: 0.5})
		for range 1000 {
			send("half")
		}
		time.Sleep(time.Second)
		if n := len(b.PacketCh()); n < 400 || n > 600 {
			t.Errorf("%d of 1000 packets arrived, want about half", n)
		}
		w.SetLink(ip1, ip2, vnet.Link{})
		for range 5000 {
			send("too many")
		}
		if n := len(b.PacketCh()); n != cap(b.PacketCh()) {
			t.Errorf("%d packets wait, want %d", n, cap(b.PacketCh()))
		}

		b.Shutdown()
		send("nobody there")
		if _, err := a.WriteTo(make([]byte, 70_000), gossipAddr(ip2)); err == nil {
			t.Error("a packet of 70,000 bytes was sent")
		}
		a.Shutdown()
		_, err := a.WriteTo(nil, gossipAddr(ip2))
		mustBe(t, err, net.ErrClosed)
	})
}

func TestGossipStreams(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		a, b := w.gossip(ip1), w.gossip(ip2)
		dialed, err := a.DialAddressTimeout(memberlist.Address{Addr: gossipAddr(ip2)}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer dialed.Close()
		accepted := <-b.StreamCh()
		defer accepted.Close()
		mustWrite(t, dialed, "ave")
		mustRead(t, accepted, "ave")

		w.Partition([]string{ip1})
		start := time.Now()
		if _, err := a.DialTimeout(gossipAddr(ip2), time.Second); !isTimeout(err) {
			t.Errorf("dial: %v, want a timeout", err)
		}
		mustTake(t, time.Since(start), time.Second)

		for _, test := range []struct {
			ip, want string
			port     int
		}{{"", gossipAddr(ip1), 0}, {"192.0.2.1", "192.0.2.1:7", 7}} {
			ip, port, err := a.FinalAdvertiseAddr(test.ip, test.port)
			if got := fmt.Sprintf("%s:%d", ip, port); got != test.want || len(ip) != 4 || err != nil {
				t.Errorf("advertises %s, %v; want %s", got, err, test.want)
			}
		}
	})
}

// join starts a serf node on a host and has it join the other hosts.
func (w world) join(ip string, others ...string) *serf.Serf {
	w.t.Helper()
	log := testutil.Logger(w.t, ip).StandardLogger(nil)
	config := serf.DefaultConfig()
	config.Init()
	config.NodeName = ip
	config.Logger = log
	config.MemberlistConfig = memberlist.DefaultLANConfig()
	config.MemberlistConfig.Logger = log
	config.MemberlistConfig.Transport = w.gossip(ip)
	s, err := serf.Create(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Shutdown() })
	for i, other := range others {
		others[i] = gossipAddr(other)
	}
	if len(others) > 0 {
		if _, err := s.Join(others, true); err != nil {
			w.t.Fatal(err)
		}
	}
	return s
}

// mustSee waits until s sees the member in that state.
func mustSee(t *testing.T, s *serf.Serf, member string, want serf.MemberStatus) {
	t.Helper()
	testutil.Eventually(t, time.Minute, member+" to be "+want.String(), func() error {
		for _, m := range s.Members() {
			if m.Name == member && m.Status == want {
				return nil
			}
		}
		return fmt.Errorf("%v", s.Members())
	})
}

func TestSerf(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		s1 := w.join(ip1)
		s2 := w.join(ip2, ip1)
		s3 := w.join(ip3, ip1)
		all := []string{ip1, ip2, ip3}
		for _, s := range []*serf.Serf{s1, s2, s3} {
			for _, ip := range all {
				mustSee(t, s, ip, serf.StatusAlive)
			}
		}

		w.Host(ip3).Crash()
		mustSee(t, s1, ip3, serf.StatusFailed)
		mustSee(t, s2, ip3, serf.StatusFailed)
		s3.Shutdown()
		s3 = w.join(ip3, ip2)
		mustSee(t, s1, ip3, serf.StatusAlive)
		mustSee(t, s3, ip1, serf.StatusAlive)

		w.Partition([]string{ip1})
		mustSee(t, s1, ip2, serf.StatusFailed)
		mustSee(t, s1, ip3, serf.StatusFailed)
		mustSee(t, s2, ip1, serf.StatusFailed)
		w.Heal()
		for _, ip := range all {
			mustSee(t, s1, ip, serf.StatusAlive)
		}

		lossy := vnet.Link{Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05}
		for _, from := range all {
			for _, to := range all {
				w.SetLink(from, to, lossy)
			}
		}
		time.Sleep(2 * time.Minute)
		for _, ip := range all {
			mustSee(t, s2, ip, serf.StatusAlive)
		}
	})
}

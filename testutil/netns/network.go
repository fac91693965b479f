//go:build linux

package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"praetor/testutil"
)

// Network is a network of hosts, each of them a network namespace. The test is
// a host too: Outside.
type Network struct {
	t       testing.TB
	wire    *wire
	subnet  netip.Addr // its .0
	hosts   []*Host
	Outside *Host
}

// Host is a place in the network.
type Host struct {
	Addr    netip.Addr
	network *Network
	space   string // its namespace; "" is that of the test
}

// NewNetwork makes an empty network, or skips the test where that cannot be
// done. The seed decides which packets of lossy links are lost.
func NewNetwork(t testing.TB, seed uint64) *Network {
	t.Helper()
	Require(t)
	n := &Network{t: t, wire: newWire(seed)}
	t.Cleanup(n.wire.close)
	n.Outside = n.host("")
	return n
}

// Host adds a host.
func (n *Network) Host() *Host {
	n.t.Helper()
	space := fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), len(n.hosts))
	must(n.t, sh("ip", "netns", "add", space))
	n.t.Cleanup(func() { sh("ip", "netns", "del", space) })
	return n.host(space)
}

func (n *Network) host(space string) *Host {
	n.t.Helper()
	if space == "" {
		n.subnet = freeSubnet(n.t)
	}
	four := n.subnet.As4()
	four[3] = byte(len(n.hosts) + 1)
	h := &Host{Addr: netip.AddrFrom4(four), network: n, space: space}
	name := fmt.Sprintf("pr%d-%d", os.Getpid(), len(n.hosts))
	device, err := openTUN(name)
	must(n.t, err)
	at := []string{}
	if space != "" {
		must(n.t, sh("ip", "link", "set", name, "netns", space))
		at = []string{"-n", space}
	}
	for _, line := range [][]string{
		{"addr", "add", h.Addr.String() + "/24", "dev", name},
		{"link", "set", name, "up"},
		{"link", "set", "lo", "up"},
	} {
		must(n.t, sh("ip", append(at, line...)...))
	}
	n.hosts = append(n.hosts, h)
	n.wire.attach(h.Addr, device)
	return h
}

// freeSubnet is a /24 of the range that RFC 2544 sets apart for measurements of
// networks, and that nobody uses here.
func freeSubnet(t testing.TB) netip.Addr {
	t.Helper()
	used := map[netip.Prefix]bool{}
	addrs, err := net.InterfaceAddrs()
	must(t, err)
	for _, addr := range addrs {
		if p, err := netip.ParsePrefix(addr.String()); err == nil {
			used[netip.PrefixFrom(p.Addr(), 24).Masked()] = true
		}
	}
	for i := range 512 {
		at := (os.Getpid() + i) % 512
		addr := netip.AddrFrom4([4]byte{198, 18 + byte(at/256), byte(at % 256), 0})
		if !used[netip.PrefixFrom(addr, 24)] {
			return addr
		}
	}
	t.Fatal("no subnet of 198.18.0.0/15 is free")
	return netip.Addr{}
}

// Process prepares a server on the host, as testutil.NewProcess does.
func (h *Host) Process(args ...string) *testutil.Process {
	h.network.t.Helper()
	p := testutil.NewProcess(h.network.t, args...)
	p.Host = h.Addr.String()
	p.Inside = []string{"nsenter", "--net=/run/netns/" + h.space}
	return p
}

// SetLink changes one direction of the link between two hosts.
func (n *Network) SetLink(from, to *Host, l Link) { n.wire.set(from.Addr, to.Addr, l) }

// Cut cuts the link between two hosts, in both directions.
func (n *Network) Cut(a, b *Host) {
	n.SetLink(a, b, Link{Cut: true})
	n.SetLink(b, a, Link{Cut: true})
}

// Isolate cuts a host off from all others, the test too.
func (n *Network) Isolate(h *Host) {
	for _, other := range n.hosts {
		if other != h {
			n.Cut(h, other)
		}
	}
}

// Heal makes all links good again.
func (n *Network) Heal() {
	for _, a := range n.hosts {
		for _, b := range n.hosts {
			n.SetLink(a, b, Link{})
		}
	}
}

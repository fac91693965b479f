package vnet

import (
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

// Network is a set of hosts, every two of them joined by a link each way.
// Links are perfect and instant until told otherwise.
type Network struct {
	// mu guards the fields below and everything reachable from them: hosts,
	// links, listeners, conns. Nobody sleeps holding it.
	mu        sync.Mutex
	rand      *rand.Rand
	hosts     map[string]*Host // the present incarnation of each machine
	links     map[route]*link
	groups    map[string]int // partition group of a host, 0 if not named
	listeners map[string]*listener
	packets   map[string]*gossip
	conns     map[*conn]bool // open on their own side
	lastPort  int
	changed   signal // something changed that a dial may wait for
}

// New returns a network without faults. Jitter and loss are drawn from seed.
func New(seed uint64) *Network {
	return &Network{
		rand:      rand.New(rand.NewPCG(seed, seed)),
		hosts:     map[string]*Host{},
		links:     map[route]*link{},
		listeners: map[string]*listener{},
		packets:   map[string]*gossip{},
		conns:     map[*conn]bool{},
	}
}

// Host returns the machine with that IP address, the same one until it
// crashes and the next incarnation afterwards. It panics if ip is no IP.
func (n *Network) Host(ip string) *Host {
	ip = canonical(ip)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[ip] == nil {
		n.hosts[ip] = &Host{net: n, ip: ip}
	}
	return n.hosts[ip]
}

// freePort picks the next port that nobody listens on, from the range Linux
// uses for outgoing connections.
func (n *Network) freePort(ip string) int {
	const first, last = 32768, 60999
	for range last - first + 1 {
		n.lastPort = max(first, (n.lastPort+1)%(last+1))
		if n.listeners[(&net.TCPAddr{IP: net.ParseIP(ip), Port: n.lastPort}).String()] == nil {
			return n.lastPort
		}
	}
	panic("vnet: no free port on " + ip)
}

// crash ends everything that belongs to one host.
func (n *Network) crash(h *Host) {
	for c := range maps.Clone(n.conns) {
		if c.host == h {
			c.shut(reset)
		}
	}
	for _, l := range maps.Clone(n.listeners) {
		if l.host == h {
			l.shut()
		}
	}
	for _, g := range maps.Clone(n.packets) {
		if g.host == h {
			g.unbind()
		}
	}
	n.changed.raise()
}

func canonical(ip string) string {
	return netip.MustParseAddr(ip).Unmap().String()
}

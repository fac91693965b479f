package vnet

import (
	"fmt"
	"time"
)

// Link says how one direction between two hosts behaves.
type Link struct {
	Delay  time.Duration // of every packet and every write
	Jitter time.Duration // up to this much more, evenly spread; streams keep their order
	Loss   float64       // share of packets lost, 0 to 1; streams lose nothing
}

type route struct{ from, to string }

// link is a direction with its faults.
type link struct {
	Link
	blocked bool // by Block
	cut     bool // by Partition
}

func (l *link) open() bool {
	return !l.blocked && !l.cut
}

// SetLink sets one direction. It holds for what is sent from now on.
func (n *Network) SetLink(from, to string, l Link) {
	n.change(func() { n.link(canonical(from), canonical(to)).Link = l })
}

// Block stops everything that travels in this one direction.
func (n *Network) Block(from, to string) {
	n.change(func() { n.link(canonical(from), canonical(to)).blocked = true })
}

// Unblock undoes Block.
func (n *Network) Unblock(from, to string) {
	n.change(func() { n.link(canonical(from), canonical(to)).blocked = false })
}

// Partition stops everything between hosts of different groups, in place of
// any partition before. Hosts not named form a group of their own. It panics
// if a host is named twice.
func (n *Network) Partition(groups ...[]string) {
	named := map[string]int{}
	for i, group := range groups {
		for _, ip := range group {
			ip = canonical(ip)
			if named[ip] != 0 {
				panic(fmt.Sprintf("vnet: %s is in two groups", ip))
			}
			named[ip] = i + 1
		}
	}
	n.change(func() { n.regroup(named) })
}

// Heal removes the partition and all blocks. Delays and losses stay.
func (n *Network) Heal() {
	n.change(func() {
		n.regroup(nil)
		for _, l := range n.links {
			l.blocked = false
		}
	})
}

func (n *Network) regroup(groups map[string]int) {
	n.groups = groups
	for r, l := range n.links {
		l.cut = groups[r.from] != groups[r.to]
	}
}

// change changes links. What should have arrived by now arrives before; what
// was held and is free again sets out after.
func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settle()
	f()
	n.settle()
	for c := range n.conns {
		c.wake.raise()
	}
	n.changed.raise()
}

func (n *Network) settle() {
	now := time.Now()
	for c := range n.conns {
		c.in.settle(now)
		c.peer.in.settle(now)
	}
}

func (n *Network) link(from, to string) *link {
	r := route{from, to}
	if n.links[r] == nil {
		n.links[r] = &link{cut: n.groups[from] != n.groups[to]}
	}
	return n.links[r]
}

// delay draws how long the next thing sent over l takes.
func (n *Network) delay(l *link) time.Duration {
	if l.Jitter <= 0 {
		return l.Delay
	}
	return l.Delay + time.Duration(n.rand.Int64N(int64(l.Jitter)+1))
}

// lost draws whether the next packet sent over l is lost.
func (n *Network) lost(l *link) bool {
	return l.Loss > 0 && n.rand.Float64() < l.Loss
}

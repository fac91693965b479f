package vnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	packetBuffer  = 1024  // packets waiting to be read; more are dropped
	maxPacketSize = 65507 // bytes, as with UDP over IPv4
)

// gossip is what memberlist needs of a network: packets and streams on one port.
type gossip struct {
	host    *Host
	addr    *net.UDPAddr
	streams *listener

	packetCh chan *memberlist.Packet
	streamCh chan net.Conn
	stop     chan struct{}
	wg       sync.WaitGroup
	closed   bool // guarded by the network's lock, as is closing stop
}

// GossipTransport opens the host's port for gossip, packets and streams.
// Port 0 picks one. Serf and memberlist shut it down themselves.
func (h *Host) GossipTransport(port int) (memberlist.NodeAwareTransport, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	l, err := h.listen(net.JoinHostPort(h.ip, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	g := &gossip{
		host:     h,
		addr:     &net.UDPAddr{IP: l.addr.IP, Port: l.addr.Port},
		streams:  l,
		packetCh: make(chan *memberlist.Packet, packetBuffer),
		streamCh: make(chan net.Conn),
		stop:     make(chan struct{}),
	}
	h.net.packets[g.addr.String()] = g
	g.wg.Go(g.accept)
	return g, nil
}

func (g *gossip) accept() {
	for {
		c, err := g.streams.Accept()
		if err != nil {
			return
		}
		select {
		case g.streamCh <- c:
		case <-g.stop:
			c.Close()
		}
	}
}

// FinalAdvertiseAddr returns what was configured, or else the bound address.
func (g *gossip) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return g.addr.IP, g.addr.Port, nil
	}
	given, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("advertise address: %w", err)
	}
	return given.Unmap().AsSlice(), port, nil
}

// WriteTo sends one packet, which may get lost without an error.
func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	n, now := g.host.net, time.Now()
	to, err := parse(addr, g.host.ip)
	if err != nil {
		return now, &net.OpError{Op: "write", Net: "udp", Source: g.addr, Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch l := n.link(g.host.ip, to.IP.String()); {
	case g.closed:
		return now, &net.OpError{Op: "write", Net: "udp", Source: g.addr, Err: net.ErrClosed}
	case len(b) > maxPacketSize:
		return now, &net.OpError{Op: "write", Net: "udp", Source: g.addr,
			Err: os.NewSyscallError("sendto", syscall.EMSGSIZE)}
	case !l.open() || n.lost(l):
	default:
		b = slices.Clone(b)
		if delay := n.delay(l); delay > 0 {
			time.AfterFunc(delay, func() {
				n.mu.Lock()
				defer n.mu.Unlock()
				g.deliver(l, b, to.String())
			})
		} else {
			g.deliver(l, b, to.String())
		}
	}
	return now, nil
}

// deliver ends a packet's journey, if the link still stands, somebody is
// there, and there is room.
func (g *gossip) deliver(l *link, b []byte, to string) {
	peer := g.host.net.packets[to]
	if peer == nil || !l.open() {
		return
	}
	select {
	case peer.packetCh <- &memberlist.Packet{Buf: b, From: g.addr, Timestamp: time.Now()}:
	default:
	}
}

// WriteToAddress is WriteTo: addresses are enough, names are not looked at.
func (g *gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

// DialTimeout opens a stream. As with net.Dialer, timeout 0 means none.
func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx := context.Background()
	if timeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return g.host.Dial(ctx, addr)
}

// DialAddressTimeout is DialTimeout: names are not looked at.
func (g *gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return g.DialTimeout(a.Addr, timeout)
}

func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packetCh }
func (g *gossip) StreamCh() <-chan net.Conn           { return g.streamCh }

// Shutdown frees the port. Doing it twice, or after a crash, is fine.
func (g *gossip) Shutdown() error {
	g.host.net.mu.Lock()
	g.unbind()
	g.host.net.mu.Unlock()
	g.wg.Wait()
	return nil
}

func (g *gossip) unbind() {
	if g.closed {
		return
	}
	g.closed = true
	close(g.stop)
	delete(g.host.net.packets, g.addr.String())
	if !g.streams.closed {
		g.streams.shut()
	}
}

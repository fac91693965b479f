package vnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Host is one machine's view of the network, from start to crash.
type Host struct {
	net  *Network
	ip   string
	dead bool // guarded by the network's lock
}

// IP returns the host's only address.
func (h *Host) IP() string { return h.ip }

// Listen listens on an address such as "10.0.0.1:8300". Port 0 picks a free
// one; an empty or unspecified IP means the host's. The error is
// syscall.EADDRINUSE or syscall.EADDRNOTAVAIL, wrapped as by net.Listen.
func (h *Host) Listen(addr string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	l, err := h.listen(addr)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (h *Host) listen(addr string) (*listener, error) {
	at, err := parse(addr, h.ip)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	l := &listener{host: h, addr: at}
	switch {
	case h.dead:
		return nil, l.error("listen", net.ErrClosed)
	case at.IP.String() != h.ip:
		return nil, l.error("listen", os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	case at.Port == 0:
		at.Port = h.net.freePort(h.ip)
	case h.net.listeners[at.String()] != nil:
		return nil, l.error("listen", os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	h.net.listeners[at.String()] = l
	return l, nil
}

// Dial opens a stream, which takes a round trip. Where nobody listens it is
// refused; where no packet passes it hangs until ctx is done and returns an
// error that wraps ctx.Err.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, err := parse(addr, h.ip)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: err}
	}

	there, back := n.link(h.ip, to.IP.String()), n.link(to.IP.String(), h.ip)
	var done time.Time // when the round trip ends; zero: not set out yet
	for {
		if h.dead {
			return fail(net.ErrClosed)
		}
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		var until time.Time
		switch l := n.listeners[to.String()]; {
		case !there.open() || !back.open():
			done = time.Time{}
		case done.IsZero():
			done = time.Now().Add(n.delay(there) + n.delay(back))
			continue
		case !passed(done, time.Now()):
			until = done
		case l == nil:
			return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
		case len(l.queue) < backlog:
			from := &net.TCPAddr{IP: net.ParseIP(h.ip), Port: n.freePort(h.ip)}
			dialed, accepted := n.join(h, l.host, from, to)
			l.queue = append(l.queue, accepted)
			l.wake.raise()
			return dialed, nil
		}
		n.sleep(&n.changed, ctx.Done(), until)
	}
}

// Crash kills the host's processes, as kill -9 would: its listeners, conns and
// gossip transports close, its peers see resets, though not through a
// partition before it heals. The Host stays dead, so that what still runs in
// the dead process cannot be heard; Network.Host returns its next incarnation.
func (h *Host) Crash() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.dead {
		return
	}
	h.dead = true
	delete(h.net.hosts, h.ip)
	h.net.crash(h)
}

// parse reads "ip:port"; an empty or unspecified IP means self.
func parse(addr, self string) (*net.TCPAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = self
	}
	ap, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return nil, &net.AddrError{Err: "not an IP address and port", Addr: addr}
	}
	ip := ap.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = netip.MustParseAddr(self)
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, ap.Port())), nil
}

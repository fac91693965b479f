//go:build linux

package netns

import (
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Link is what happens to the packets on the way from one host to another.
// The zero value passes them all on at once.
type Link struct {
	Cut   bool
	Loss  float64       // how many of the packets are lost: 0 none, 1 all
	Delay time.Duration // each packet takes at least this,
	Vary  time.Duration // and up to this longer; none overtakes another
}

// wire carries packets between the hosts of a network, in this process: so
// faults need no help of the kernel, which often has no netem.
type wire struct {
	seed uint64

	mu     sync.Mutex // guards the fields below
	hosts  map[netip.Addr]*os.File
	routes map[route]*passage

	readers, writers sync.WaitGroup
}

type route struct{ from, to netip.Addr }

// queued is how many packets a slow passage holds; the next is dropped.
const queued = 4096

// passage is one direction of a link.
type passage struct {
	mu    sync.Mutex // guards the fields below
	link  Link
	rng   *rand.Rand
	last  time.Time // no packet is due before it
	queue chan packet
}

type packet struct {
	due  time.Time
	body []byte
}

func newWire(seed uint64) *wire {
	return &wire{seed: seed, hosts: map[netip.Addr]*os.File{}, routes: map[route]*passage{}}
}

// attach connects a host's device.
func (w *wire) attach(addr netip.Addr, device *os.File) {
	w.mu.Lock()
	w.hosts[addr] = device
	w.mu.Unlock()
	w.readers.Go(func() { w.carry(addr, device) })
}

// set changes one direction of a link.
func (w *wire) set(from, to netip.Addr, l Link) {
	p := w.passage(route{from, to})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
}

// carry reads what a host sends until its device is closed.
func (w *wire) carry(from netip.Addr, device *os.File) {
	buf := make([]byte, 1<<16)
	for {
		n, err := device.Read(buf)
		if err != nil {
			return
		}
		if n < 20 || buf[0]>>4 != 4 {
			continue // IPv6 looks for neighbours
		}
		to := netip.AddrFrom4([4]byte(buf[16:20]))
		w.mu.Lock()
		known := w.hosts[to] != nil
		w.mu.Unlock()
		if known {
			w.passage(route{from, to}).send(buf[:n])
		}
	}
}

func (w *wire) passage(r route) *passage {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.routes[r]; p != nil {
		return p
	}
	h := fnv.New64a()
	h.Write(r.from.AsSlice())
	h.Write(r.to.AsSlice())
	p := &passage{rng: rand.New(rand.NewPCG(w.seed, h.Sum64())), queue: make(chan packet, queued)}
	w.routes[r] = p
	device := w.hosts[r.to]
	w.writers.Go(func() {
		for packet := range p.queue {
			time.Sleep(time.Until(packet.due))
			device.Write(packet.body) // a host that is down loses it, as hosts do
		}
	})
	return p
}

// send passes a packet on or loses it.
func (p *passage) send(body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link.Cut || p.rng.Float64() < p.link.Loss {
		return
	}
	due := time.Now().Add(p.link.Delay)
	if p.link.Vary > 0 {
		due = due.Add(time.Duration(p.rng.Int64N(int64(p.link.Vary))))
	}
	if due.Before(p.last) {
		due = p.last
	}
	p.last = due
	select {
	case p.queue <- packet{due, append([]byte(nil), body...)}:
	default:
	}
}

// close takes the devices away and waits until nothing is carried any more.
func (w *wire) close() {
	w.mu.Lock()
	for _, device := range w.hosts {
		device.Close()
	}
	w.mu.Unlock()
	w.readers.Wait()
	for _, p := range w.routes { // nobody sends now
		close(p.queue)
	}
	w.writers.Wait()
}

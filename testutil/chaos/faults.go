package chaos

import (
	"slices"
	"strings"
	"time"

	"praetor/testutil/vnet"
)

// kind is one way for things to go wrong.
type kind struct {
	name    string
	weight  int           // how often it is drawn
	longest time.Duration // how long it may last
	many    bool          // it is about one or many servers
	do      func(n *nemesis, f Fault)
}

// kinds are all of them. It is filled by init, since they lead to one another.
var kinds []kind

func init() {
	kinds = []kind{
		{"crash", 8, 8 * time.Second, true, crash},
		{"stop", 3, 8 * time.Second, false, stop},
		{"power loss", 5, 8 * time.Second, true, powerLoss},
		{"torn write", 4, 8 * time.Second, false, tornWrite},
		{"pause", 6, 6 * time.Second, false, pause},
		{"partition", 10, 10 * time.Second, true, partition},
		{"one way", 8, 8 * time.Second, false, oneWay},
		{"slow links", 6, 10 * time.Second, true, slowLinks},
		{"slow disk", 6, 8 * time.Second, true, slowDisk},
		{"hung disk", 4, 15 * time.Second, false, hungDisk},
		{"failing disk", 5, 5 * time.Second, false, failingDisk},
		{"failing cut", 4, 6 * time.Second, false, failingCut},
		{"transfer", 4, time.Second, false, transfer},
		{"save", 3, time.Second, false, save},
		{"restore", 4, time.Second, false, restore},
		{"add", 2, time.Second, false, add},
		{"leave", 3, 10 * time.Second, false, leave},
		{"expel", 2, time.Second, false, expel},
		{"demote", 2, 10 * time.Second, false, demote},
	}
}

func crash(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.note("%s crashes", m.name())
		n.crash(m)
		n.after(f.Lasts, func() { n.revive(m) })
	}
}

// stop shuts a server down in order.
func stop(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.note("%s stops", m.name())
		m.state = leaving
		server, d := m.Server, death{m: m, life: m.life, of: "stopping"}
		n.background.Go(func() {
			server.Shutdown()
			n.left <- d
		})
	}
}

func powerLoss(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.note("%s loses power", m.name())
		n.losePower(m, f)
		n.after(f.Lasts, func() { n.revive(m) })
	}
}

func tornWrite(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.note("%s will lose power in its next write", m.name())
		n.losePowerWriting(m, f)
	}
}

// pause freezes a server as far as others can tell: nothing reaches it, nothing
// comes from it, its disk stands still. Its own timers go on.
func pause(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.note("%s freezes", m.name())
		m.disk.hang()
		undo := n.block(n.links([]string{m.IP}, n.ips(append(n.others(m), everyClient...)), true))
		life := m.life
		n.after(f.Lasts, func() {
			n.note("%s goes on", m.name())
			undo()
			if m.life == life {
				m.disk.move()
			}
		})
	}
}

// partition splits the servers in two; clients reach both sides.
func partition(n *nemesis, f Fault) {
	side := n.targets(f)
	if len(side) == len(n.up()) { // then everybody is alone
		n.note("everybody is alone")
		var links [][2]string
		for _, m := range n.machines {
			links = append(links, n.links([]string{m.IP}, n.ips(n.others(m)), false)...)
		}
		n.until(f, n.block(links))
		return
	}
	a, b := []string{}, n.ips(n.others(side...))
	for _, m := range side {
		a = append(a, m.IP)
	}
	n.note("%s are cut off from the others", names(side))
	n.until(f, n.block(n.links(a, b, true)))
}

// oneWay stops what a server says, or what it would hear.
func oneWay(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		from, to := []string{m.IP}, n.ips(n.others(m))
		if f.rand().IntN(2) == 0 {
			from, to = to, from
			n.note("%s does not hear the others", m.name())
		} else {
			n.note("%s is not heard by the others", m.name())
		}
		n.until(f, n.block(n.links(from, to, false)))
	}
}

var nothingSlow = vnet.Link{}

// slowLinks makes all links of some servers slow and lossy. The jitter stands
// for what a stream takes to send a lost segment again.
func slowLinks(n *nemesis, f Fault) {
	r := f.rand()
	l := vnet.Link{
		Delay: between(r, time.Millisecond, pick(r, 20*time.Millisecond, 200*time.Millisecond)),
		Loss:  pick(r, 0, 0.1, 0.5), Jitter: pick(r, 0, 50*time.Millisecond, 500*time.Millisecond),
	}
	side := n.targets(f)
	n.note("links of %s: delay %v, jitter %v, loss %v", names(side), l.Delay, l.Jitter, l.Loss)
	n.slow(side, l)
	n.until(f, func() { n.slow(side, nothingSlow) })
}

// slow sets the links of some servers, of all if none is given.
func (n *nemesis) slow(side []*machine, l vnet.Link) {
	if side == nil {
		side = n.machines
	}
	for _, m := range side {
		for _, other := range n.ips(append(n.others(m), everyClient...)) {
			n.cluster.Net.SetLink(m.IP, other, l)
			n.cluster.Net.SetLink(other, m.IP, l)
		}
	}
}

func slowDisk(n *nemesis, f Fault) {
	r := f.rand()
	delay := between(r, time.Millisecond, pick(r, 20*time.Millisecond, 300*time.Millisecond, 2*time.Second))
	for _, m := range n.targets(f) {
		n.note("%s's disk takes %v for each write", m.name(), delay)
		m.disk.set(func() { m.disk.delay = delay })
		n.until(f, func() { m.disk.set(func() { m.disk.delay = 0 }) })
	}
}

func hungDisk(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.note("%s's disk hangs", m.name())
		m.disk.hang()
		n.until(f, m.disk.move)
	}
}

func failingDisk(n *nemesis, f Fault) {
	how := pick(f.rand(), failsAtOnce, failsLate)
	if n.plan.Backend == "wal" {
		how = failsAtOnce // raft-wal would have to see that its own write failed
	}
	for _, m := range n.targets(f) {
		n.note("%s's disk fails, after the write: %v", m.name(), how == failsLate)
		m.disk.set(func() { m.disk.fails = how })
		n.until(f, func() { m.disk.set(func() { m.disk.fails = works }) })
	}
}

// failingCut has a server's disk fail behind the next cut of its log. It is the
// leader's, if there is one: nobody hears what that writes meanwhile, so that it is
// cut off later.
func failingCut(n *nemesis, f Fault) {
	targets := n.targets(f)
	if leader := n.leader(); leader != nil {
		targets = []*machine{leader}
	}
	for _, m := range targets {
		n.note("%s is cut off from the others, its disk will fail when its log is cut", m.name())
		m.disk.set(func() { m.disk.armed = true })
		n.until(f, n.block(n.links([]string{m.IP}, n.ips(n.others(m)), true)))
		life := m.life
		n.after(f.Lasts+between(f.rand(), 500*time.Millisecond, 5*time.Second), func() {
			m.disk.set(func() {
				if m.life == life {
					n.note("%s's disk works again, failed: %v", m.name(), m.disk.fails != works)
					m.disk.armed, m.disk.fails = false, works
				}
			})
		})
	}
}

func (n *nemesis) until(f Fault, undo func()) {
	n.after(f.Lasts, func() {
		n.note("%s on %s of %.3fs ends", f.Kind, f.On, f.At.Seconds())
		undo()
	})
}

// others are all servers but these, down or not.
func (n *nemesis) others(not ...*machine) (rest []*machine) {
	for _, m := range n.machines {
		if !slices.Contains(not, m) {
			rest = append(rest, m)
		}
	}
	return rest
}

func (n *nemesis) ips(of []*machine) (ips []string) {
	for _, m := range of {
		if m == anyClient {
			for i := range clients {
				ips = append(ips, clientIP(i))
			}
			continue
		}
		ips = append(ips, m.IP)
	}
	return ips
}

// anyClient stands for the machines of all clients.
var (
	anyClient   = &machine{}
	everyClient = []*machine{anyClient}
)

// links are those from one side to the other, and back if both ways.
func (n *nemesis) links(from, to []string, both bool) (links [][2]string) {
	for _, a := range from {
		for _, b := range to {
			links = append(links, [2]string{a, b})
			if both {
				links = append(links, [2]string{b, a})
			}
		}
	}
	return links
}

func names(of []*machine) string {
	var all []string
	for _, m := range of {
		all = append(all, m.name())
	}
	return strings.Join(all, ", ")
}

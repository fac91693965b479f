package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// retryJoin joins the servers of retry_join, again and again until one of them
// answers or the agent stops. That we can reach ourselves does not count.
func (a *Agent) retryJoin() {
	said := map[string]string{} // address -> what went wrong last
	pauses := retryPauses{interval: a.config.RetryInterval}
	counts := true // whether the next failure is one of retry_max
	for failed := 0; ; {
		answered, tried := false, false
		problems := map[string]string{}
		for _, addr := range a.config.RetryJoin {
			others, err := a.others(addr)
			for _, other := range others {
				tried = true
				if e := a.join(other); e != nil {
					err = errors.Join(err, e)
				} else {
					answered = true
				}
			}
			if a.ctx.Err() != nil {
				return
			}
			if err != nil {
				tried = true
				problems[addr] = gist(err)
				if said[addr] != problems[addr] {
					a.logger.Warn("cannot join", "address", addr, "error", problems[addr])
				}
			}
		}
		said = problems
		if answered {
			a.logger.Info("joined", "members", len(a.server.Members()))
			return
		}
		if tried && counts { // that a name leads only to us, so far, is no failure
			failed++
		}
		if limit := a.config.RetryMax; limit > 0 && failed >= limit {
			var all []string
			for _, addr := range slices.Sorted(maps.Keys(problems)) {
				all = append(all, addr+": "+problems[addr])
			}
			go a.end(fmt.Errorf("no server of retry_join (-retry-join) answered in %d attempts (retry_max, -retry-max): %s",
				limit, strings.Join(all, "; ")))
			return
		}
		if failed == 1 && counts {
			a.logger.Info("no server of retry_join answered: trying on", "every", a.config.RetryInterval)
		}
		var pause time.Duration
		pause, counts = pauses.next()
		select {
		case <-time.After(pause):
		case <-a.ctx.Done():
			return
		}
	}
}

// retryPauses are the times between attempts to join. Servers that are started
// together find each other within seconds: the first interval is spent in
// attempts after 1 s, 2 s, 4 s and so on, which count as one.
type retryPauses struct {
	interval time.Duration
	quick    time.Duration // the last pause within the first interval
	spent    time.Duration // of it
}

// next returns the next pause, and whether an attempt after it counts.
func (p *retryPauses) next() (pause time.Duration, counts bool) {
	p.quick = max(time.Second, 2*p.quick)
	if p.spent+p.quick >= p.interval {
		pause, p.spent = p.interval-p.spent, 0
		p.quick = p.interval // from now on whole intervals
		return pause, true
	}
	p.spent += p.quick
	return p.quick, false
}

// What in an error of serf's changes with every attempt, or says nothing.
var noise = regexp.MustCompile(`\S+:\d+->|\d+ errors? occurred:|[\s*]+`)

// gist is the one line that an error comes down to.
func gist(err error) string {
	text := noise.ReplaceAllStringFunc(err.Error(), func(s string) string {
		if strings.ContainsAny(s, ">:") {
			return ""
		}
		return " "
	})
	return strings.TrimSpace(text)
}

// join joins one address. Serf cannot be told to stop trying: when the agent
// stops, its attempt is left to end by itself within seconds.
func (a *Agent) join(addr string) error {
	done := make(chan error, 1)
	go func() {
		_, err := a.server.Join([]string{addr})
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

// others are the gossip addresses, ip:port, that an address of retry_join stands
// for: host, host:port, [v6]:port. Our own is not among them.
func (a *Agent) others(addr string) ([]string, error) {
	self := a.server.LocalMember()
	host, port := strings.Trim(addr, "[]"), strconv.Itoa(a.config.Ports.SerfLAN)
	if h, p, err := net.SplitHostPort(addr); err == nil {
		host, port = h, p
	}
	ctx, cancel := context.WithTimeout(a.ctx, 10*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, ip := range ips {
		ip = ip.Unmap()
		if port == strconv.Itoa(int(self.Port)) && a.isOurs(ip, self.Addr) {
			continue
		}
		others = append(others, net.JoinHostPort(ip.String(), port))
	}
	return others, nil
}

// isOurs reports whether our gossip is reached at an IP.
func (a *Agent) isOurs(ip netip.Addr, advertised net.IP) bool {
	if ours, ok := netip.AddrFromSlice(advertised); ok && ours.Unmap() == ip {
		return true
	}
	bind, err := netip.ParseAddr(a.config.BindAddr)
	if err != nil || !bind.IsUnspecified() {
		return bind.Unmap() == ip
	}
	addrs, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(addrs, func(addr net.Addr) bool {
		prefix, err := netip.ParsePrefix(addr.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
}

package config

import (
	"net/netip"
	"strings"

	"github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/go-sockaddr/template"
)

// Host is what a configuration takes from the machine it runs on. The zero Host asks the machine.
type Host struct {
	Name       string
	PrivateIPs []string
}

// finishAddresses expands templates, splits lists and picks the address to advertise.
func (c *checker) finishAddresses(host Host) {
	r := c.r
	r.BindAddr = c.oneIP("bind_addr", r.BindAddr)
	if r.AdvertiseAddr != "" {
		if r.AdvertiseAddr = c.oneIP("advertise_addr", r.AdvertiseAddr); unspecified(r.AdvertiseAddr) {
			c.fail("%s cannot be %s: others could not reach it", label("advertise_addr"), r.AdvertiseAddr)
		}
	} else if r.AdvertiseAddr = r.BindAddr; unspecified(r.BindAddr) {
		r.AdvertiseAddr = c.privateIP(host)
	}

	r.ClientAddrs = c.listenAddrs("client_addr", r.ClientAddrs, false)
	r.Addresses.HTTP = c.listenAddrs("addresses.http", r.Addresses.HTTP, true)
	r.Addresses.HTTPS = c.listenAddrs("addresses.https", r.Addresses.HTTPS, true)
	if len(r.Addresses.HTTP) == 0 {
		r.Addresses.HTTP = r.ClientAddrs
	}
	if len(r.Addresses.HTTPS) == 0 {
		r.Addresses.HTTPS = r.ClientAddrs
	}
}

// expand runs an address template, if text holds one, and splits what comes out.
func (c *checker) expand(key, text string) []string {
	if !strings.Contains(text, "{{") {
		return strings.Fields(text)
	}
	out, err := template.Parse(text)
	if err != nil {
		c.fail("%s: bad address template %q: %w", label(key), text, err)
		return nil
	}
	if strings.TrimSpace(out) == "" {
		c.fail("%s: the template %q found no address", label(key), text)
	}
	return strings.Fields(out)
}

// oneIP expands text to a single IP; after an error it is empty.
func (c *checker) oneIP(key, text string) string {
	before := len(c.errs)
	addrs := c.expand(key, text)
	if len(c.errs) > before {
		return ""
	}
	if len(addrs) != 1 {
		c.fail("%s must be one address, got %q", label(key), strings.Join(addrs, " "))
		return ""
	}
	if _, err := netip.ParseAddr(addrs[0]); err != nil {
		c.fail("%s must be an IP address, got %q", label(key), addrs[0])
		return ""
	}
	return addrs[0]
}

func (c *checker) listenAddrs(key string, texts []string, sockets bool) []string {
	var addrs []string
	for _, text := range texts {
		for _, addr := range c.expand(key, text) {
			_, err := netip.ParseAddr(addr)
			path, isSocket := strings.CutPrefix(addr, "unix://")
			switch {
			case isSocket && !sockets:
				c.fail("%s cannot be a unix socket: set addresses.http or addresses.https", label(key))
			case isSocket && path == "":
				c.fail("%s: unix:// needs a path", label(key))
			case !isSocket && err != nil:
				c.fail("%s must hold IP addresses, got %q", label(key), addr)
			}
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// privateIP is the one private address of this machine in the family of the bind address; after an error it is empty.
func (c *checker) privateIP(host Host) string {
	all := host.PrivateIPs
	if all == nil {
		var err error
		if all, err = privateIPs(); err != nil {
			c.fail("%s has no default: %w", label("advertise_addr"), err)
			return ""
		}
	}
	var fit []string
	for _, text := range all {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Is4() == strings.Contains(c.r.BindAddr, ".") {
			fit = append(fit, text)
		}
	}
	switch len(fit) {
	case 0:
		c.fail("this machine has no private address for %s: set -advertise or advertise_addr", c.r.BindAddr)
		return ""
	case 1:
		return fit[0]
	}
	c.fail("this machine has several private addresses (%s): set -advertise or advertise_addr to one of them", strings.Join(fit, ", "))
	return ""
}

func privateIPs() ([]string, error) {
	addrs, err := sockaddr.GetAllInterfaces()
	if err != nil {
		return nil, err
	}
	for _, flag := range []string{"up", "forwardable"} {
		if addrs, _, err = sockaddr.IfByFlag(flag, addrs); err != nil {
			return nil, err
		}
	}
	if addrs, _, err = sockaddr.IfByRFC("6890", addrs); err != nil {
		return nil, err
	}
	ips := []string{}
	for _, addr := range addrs {
		if ip := sockaddr.ToIPAddr(addr.SockAddr); ip != nil {
			ips = append(ips, (*ip).NetIP().String())
		}
	}
	return ips, nil
}

func unspecified(addr string) bool {
	a, err := netip.ParseAddr(addr)
	return err == nil && a.Unmap().IsUnspecified()
}

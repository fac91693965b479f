package agent

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"praetor/agent/config"
)

// Summary describes the agent in a few lines for people.
func (a *Agent) Summary() string {
	r := a.config
	mode := ""
	switch {
	case r.Dev:
		mode = "development: a cluster of one, everything in memory"
	case r.Bootstrap:
		mode = "server, may start a cluster of one"
	case r.BootstrapExpect > 0:
		mode = fmt.Sprintf("server, starts a cluster once there are %d", r.BootstrapExpect)
	case r.ReadReplica:
		mode = "read replica, never votes"
	default:
		mode = "server, joins a cluster"
	}
	web := strings.Join(a.HTTPAddrs(), ", ")
	if web == "" {
		web = "off"
	}
	var b strings.Builder
	for _, line := range [][2]string{
		{"Version", Version},
		{"Node ID", r.NodeID},
		{"Node name", r.NodeName},
		{"Datacenter", r.Datacenter},
		{"Mode", mode},
		{"HTTP", web},
		{"RPC", advertised(r, r.Ports.Server) + transport(r.TLS.InternalRPC.CertFile != "", ", TLS")},
		{"Gossip", advertised(r, r.Ports.SerfLAN) + transport(r.Encrypt != "", ", encrypted")},
		{"Data directory", orNone(r.DataDir)},
	} {
		fmt.Fprintf(&b, "%16s: %s\n", line[0], line[1])
	}
	return b.String()
}

func advertised(r *config.Runtime, port int) string {
	text := net.JoinHostPort(r.AdvertiseAddr, strconv.Itoa(port))
	if r.BindAddr != r.AdvertiseAddr {
		text += " (listens on " + r.BindAddr + ")"
	}
	return text
}

func transport(is bool, text string) string {
	if is {
		return text
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "none: everything is gone when the server stops"
	}
	return s
}

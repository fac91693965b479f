package agent

import (
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strconv"
	"time"

	"github.com/hashicorp/serf/serf"

	"praetor/agent/config"
	"praetor/structs/filter"
)

// agentMember is a member of the gossip pool as Consul's JSON shows it.
type agentMember struct {
	Name        string
	Addr        net.IP
	Port        uint16
	Tags        map[string]string
	Status      int // 1 alive, 2 leaving, 3 left, 4 failed
	ProtocolMin uint8
	ProtocolMax uint8
	ProtocolCur uint8
	DelegateMin uint8
	DelegateMax uint8
	DelegateCur uint8
}

func newAgentMember(m serf.Member) agentMember {
	return agentMember{m.Name, m.Addr, m.Port, m.Tags, int(m.Status),
		m.ProtocolMin, m.ProtocolMax, m.ProtocolCur, m.DelegateMin, m.DelegateMax, m.DelegateCur}
}

var errNoWAN = notOurs("Praetor has no WAN federation: a cluster is one datacenter")

func agentMembers(c *exchange) error {
	switch segment := c.query.get("segment"); {
	case c.query.get("wan") != "":
		return errNoWAN
	case segment != "" && segment != "_all":
		return &statusError{http.StatusInternalServerError, "Network segments are not supported in this version of Consul"}
	}
	members := []agentMember{}
	for _, m := range c.server.Members() {
		members = append(members, newAgentMember(m))
	}
	members, err := filter.Rows(c.query.get("filter"), members)
	if err != nil {
		return err
	}
	return c.reply(notNil(members))
}

// agentSelf answers with all that this agent knows of itself.
func agentSelf(c *exchange) error {
	server := c.server.Config()
	coordinate, err := c.server.Serf().GetCoordinate()
	if err != nil {
		return err
	}
	member := newAgentMember(c.server.LocalMember())
	stats := c.server.Stats()
	stats["agent"] = map[string]string{"check_monitors": "0", "check_ttls": "0", "checks": "0", "services": "0"}
	stats["build"] = map[string]string{"version": server.Build, "revision": Revision, "prerelease": "", "version_metadata": ""}
	stats["runtime"] = map[string]string{
		"os": runtime.GOOS, "arch": runtime.GOARCH, "version": runtime.Version(),
		"max_procs":  strconv.Itoa(runtime.GOMAXPROCS(0)),
		"goroutines": strconv.Itoa(runtime.NumGoroutine()),
		"cpu_count":  strconv.Itoa(runtime.NumCPU()),
	}
	meta := c.config.NodeMeta
	if meta == nil {
		meta = map[string]string{}
	}
	return c.reply(map[string]any{
		"Config": map[string]any{
			"Datacenter": server.Datacenter, "PrimaryDatacenter": server.Datacenter,
			"NodeName": server.NodeName, "NodeID": server.NodeID,
			"Server": true, "Version": server.Build, "Revision": Revision, "BuildDate": buildDate,
		},
		"DebugConfig": debugConfig(c.settings, c.server.Addr(), member),
		"Coord":       coordinate,
		"Member":      member,
		"Stats":       stats,
		"Meta":        meta,
	})
}

// debugConfig shows the configuration without its secrets, and the addresses
// that came of it under the names that Consul gives them.
func debugConfig(r *config.Runtime, rpcAddr string, self agentMember) map[string]any {
	all := readable(reflect.ValueOf(*r)).(map[string]any)
	if r.Encrypt != "" {
		all["Encrypt"] = "hidden"
	}
	serfAddr := "tcp://" + net.JoinHostPort(self.Addr.String(), strconv.Itoa(int(self.Port)))
	all["SerfAdvertiseAddrLAN"] = serfAddr
	all["RPCAdvertiseAddr"] = "tcp://" + rpcAddr
	all["SerfBindAddrLAN"] = "tcp://" + net.JoinHostPort(r.BindAddr, strconv.Itoa(int(self.Port)))
	all["ServerMode"] = true
	all["DevMode"] = r.Dev
	return all
}

// readable turns structs into maps and durations into text.
func readable(v reflect.Value) any {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	if v.Kind() != reflect.Struct {
		return v.Interface()
	}
	fields := make(map[string]any, v.NumField())
	for i := range v.NumField() {
		fields[v.Type().Field(i).Name] = readable(v.Field(i))
	}
	return fields
}

// buildDate stands where Consul shows one: our builds do not depend on the time.
const buildDate = "1970-01-01T00:00:00Z"

func agentVersion(c *exchange) error {
	return c.reply(struct{ SHA, BuildDate, HumanVersion, FIPS string }{Revision, buildDate, c.server.Config().Build, ""})
}

func agentJoin(c *exchange) error {
	if c.query.get("wan") != "" {
		return errNoWAN
	}
	if _, err := c.server.Join([]string{c.rest}); err != nil {
		return err
	}
	return c.done()
}

func agentForceLeave(c *exchange) error {
	if c.query.has("wan") {
		return errNoWAN
	}
	if err := c.server.ForceLeave(c.rest, c.query.has("prune")); err != nil {
		return err
	}
	return c.done()
}

func agentLeave(c *exchange) error {
	if err := c.Leave(); err != nil {
		return err
	}
	if err := c.awaitLeft(c.r.Context()); err != nil {
		return err
	}
	return c.done()
}

func agentReload(c *exchange) error {
	if err := c.Reload(); err != nil {
		return err
	}
	return c.done()
}

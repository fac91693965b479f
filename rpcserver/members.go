package rpcserver

import (
	"net"
	"strconv"
	"sync"

	"github.com/hashicorp/serf/serf"
)

// member is what gossip says of a server.
type member struct {
	id, name    string
	addr        string // host:port of its RPC port
	bootstrap   bool
	expect      int
	readReplica bool
	status      serf.MemberStatus
	build       string
	tags        map[string]string
}

// parseServer reads a serf member's tags. It reports false for a member that is
// not a server of the datacenter.
func parseServer(m serf.Member, datacenter string) (member, bool) {
	if m.Tags["role"] != "consul" || m.Tags["dc"] != datacenter {
		return member{}, false
	}
	port, err := strconv.Atoi(m.Tags["port"])
	if err != nil || m.Tags["id"] == "" {
		return member{}, false
	}
	expect, _ := strconv.Atoi(m.Tags["expect"])
	_, bootstrap := m.Tags["bootstrap"]
	_, replica := m.Tags["read_replica"]
	return member{
		id: m.Tags["id"], name: m.Name,
		addr:      net.JoinHostPort(m.Addr.String(), strconv.Itoa(port)),
		bootstrap: bootstrap, expect: expect, readReplica: replica,
		status: m.Status, build: m.Tags["build"], tags: m.Tags,
	}, true
}

// members are the servers that gossip believes to be alive, by id, and where
// those were seen last that it no longer does.
type members struct {
	mu    sync.RWMutex // guards the fields below
	alive map[string]member
	last  map[string]string // host:port by id
}

func (m *members) byID(id string) (member, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	found, ok := m.alive[id]
	return found, ok
}

// lastAddr is where the server is, or was when last heard of; "" if it never was.
func (m *members) lastAddr(id string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.last[id]
}

func (m *members) set(s member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.alive == nil {
		m.alive, m.last = map[string]member{}, map[string]string{}
	}
	m.alive[s.id] = s
	m.last[s.id] = s.addr
}

func (m *members) remove(s member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.alive[s.id].name == s.name {
		delete(m.alive, s.id)
	}
}

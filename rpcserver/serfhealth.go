package rpcserver

import (
	"maps"
	"regexp"
	"strconv"
	"time"

	"github.com/hashicorp/serf/serf"

	"praetor/structs"
)

// The leader keeps the catalog in step with gossip: every member is a node with
// the check serfHealth, and every server runs the service of this name. What
// others write there stays: tagged addresses, meta data, services and checks.
const serversService = "consul"

const (
	serfHealthName = "Serf Health Status"
	outputAlive    = "Agent alive and reachable"
	outputFailed   = "Agent not live or unreachable"
	outputUnknown  = "Agent not known to gossip"
	metaVersion    = "consul-version"
	metaSegment    = "consul-network-segment"
)

// Where somebody else keeps writing to our own node, we do so less and less
// often: from once in minOwnWrite to once in maxOwnWrite.
const (
	minOwnWrite = time.Second
	maxOwnWrite = time.Minute
)

// reconcileNode brings a member's node up to date. It writes only what differs.
func (s *Server) reconcileNode(m serf.Member) error {
	if m.Tags["dc"] != s.config.Datacenter {
		return nil
	}
	switch m.Status {
	case serf.StatusAlive:
		return s.registerAlive(m)
	case serf.StatusFailed:
		return s.turnCritical(m.Name, outputFailed)
	case serf.StatusLeft, serf.StatusNone:
		if m.Name == s.config.NodeName {
			return nil
		}
		return s.deregisterNode(m.Name, "it has left")
	}
	return nil
}

func (s *Server) registerAlive(m serf.Member) error {
	r := s.fsm.Store().Read()
	node, health := r.Node(m.Name), r.Check(m.Name, structs.SerfHealth)
	id, addr := m.Tags["id"], m.Addr.String()
	c := &structs.RegisterRequest{
		Datacenter: s.config.Datacenter, Node: m.Name, ID: id, Address: addr,
		Check: &structs.HealthCheck{
			Node: m.Name, CheckID: structs.SerfHealth, Name: serfHealthName, Status: structs.HealthPassing, Output: outputAlive,
		},
	}
	if server, ok := parseServer(m, s.config.Datacenter); ok {
		c.Service = serverService(m, server)
	}
	if node != nil {
		if id == "" {
			c.ID = node.ID
		}
		c.TaggedAddresses, c.NodeMeta, c.Locality = node.TaggedAddresses, node.Meta, node.Locality
		same := structs.FoldName(node.ID) == structs.FoldName(c.ID) && node.Address == addr && health != nil && health.Status == structs.HealthPassing
		if same && (c.Service == nil || sameServer(r.Service(m.Name, serversService), c.Service)) {
			return nil
		}
		if err := s.freeName(node, c.ID); err != nil {
			return err
		}
	} else if version := versionOf(m.Tags["build"]); version != "" {
		c.NodeMeta = map[string]string{metaVersion: version}
	}
	_, err := s.apply(c)
	return err
}

// freeName lets a member have a name that the catalog knows from a node with
// another id. In gossip a name belongs to one member, so the other is gone: it
// comes from a restored snapshot. The node stays, with its sessions, and first
// loses its id, since one in good health is protected from being replaced.
func (s *Server) freeName(node *structs.Node, id string) error {
	if node.ID == "" || structs.FoldName(node.ID) == structs.FoldName(id) {
		return nil
	}
	s.logger.Warn("the catalog knows a member's name from another node id: the new id takes it over", "node", node.Node, "old", node.ID, "new", id)
	if twin := s.fsm.Store().Read().NodeWithID(id); twin != nil {
		if err := s.deregisterNode(twin.Node, "its id goes by another name now"); err != nil {
			return err
		}
	}
	_, err := s.apply(&structs.RegisterRequest{
		Datacenter: s.config.Datacenter, Node: node.Node, Address: node.Address,
		TaggedAddresses: node.TaggedAddresses, NodeMeta: node.Meta, Locality: node.Locality,
	})
	return err
}

// serverService is what the catalog says of a server.
func serverService(m serf.Member, server member) *structs.NodeService {
	_, nonVoter := m.Tags["nonvoter"]
	port, _ := strconv.Atoi(m.Tags["port"]) // parseServer has checked it
	s := &structs.NodeService{
		ID: serversService, Service: serversService, Port: port, Weights: &structs.Weights{Passing: 1, Warning: 1},
		Meta: map[string]string{
			"non_voter": strconv.FormatBool(nonVoter), "read_replica": strconv.FormatBool(server.readReplica),
			"raft_version":          m.Tags["raft_vsn"],
			"serf_protocol_current": strconv.Itoa(int(m.ProtocolCur)),
			"serf_protocol_min":     strconv.Itoa(int(m.ProtocolMin)),
			"serf_protocol_max":     strconv.Itoa(int(m.ProtocolMax)),
			"version":               versionOf(server.build),
		},
	}
	for _, tag := range []string{"grpc_port", "grpc_tls_port"} {
		if value := m.Tags[tag]; value != "" {
			s.Meta[tag] = value
		}
	}
	return s
}

func sameServer(have, want *structs.NodeService) bool {
	return have != nil && have.Port == want.Port && maps.Equal(have.Meta, want.Meta)
}

var leadingVersion = regexp.MustCompile(`^\d+\.\d+\.\d+`)

// versionOf is the N.N.N that a build tag begins with.
func versionOf(build string) string { return leadingVersion.FindString(build) }

// turnCritical says that a node of the catalog cannot be reached. Sessions that
// depend on its serfHealth end.
func (s *Server) turnCritical(name, output string) error {
	r := s.fsm.Store().Read()
	node, health := r.Node(name), r.Check(name, structs.SerfHealth)
	if node == nil || health != nil && health.Status == structs.HealthCritical {
		return nil
	}
	_, err := s.apply(&structs.RegisterRequest{
		Datacenter: s.config.Datacenter, Node: node.Node, ID: node.ID, Address: node.Address, SkipNodeUpdate: true,
		Check: &structs.HealthCheck{
			Node: node.Node, CheckID: structs.SerfHealth, Name: serfHealthName, Status: structs.HealthCritical, Output: output,
		},
	})
	return err
}

func (s *Server) deregisterNode(name, reason string) error {
	if s.fsm.Store().Read().Node(name) == nil {
		return nil
	}
	s.logger.Info("taking a node out of the catalog", "node", name, "reason", reason)
	_, err := s.apply(&structs.DeregisterRequest{Datacenter: s.config.Datacenter, Node: name})
	return err
}

// keepOwnNode has the catalog say of our own node what our configuration says.
// The leader makes the node; who runs on it knows the rest. It stops when we
// leave, so that a node that was taken out is not put back.
func (s *Server) keepOwnNode() {
	wait := time.NewTimer(0)
	defer wait.Stop()
	pause, written := minOwnWrite, time.Time{}
	for {
		select {
		case <-wait.C:
		case <-s.ctx.Done():
			return
		}
		if s.leaving.Load() {
			return
		}
		r := s.fsm.Store().Watch()
		node := r.Node(s.config.NodeName)
		if node == nil || structs.FoldName(node.ID) != structs.FoldName(s.config.NodeID) || s.isOwn(node) {
			if r.Wait(s.ctx) != nil {
				return
			}
			wait.Reset(0)
			continue
		}
		c := s.ownNode()
		c.Locality = node.Locality
		if err := s.Call(s.ctx, "Catalog.Register", c, &struct{}{}); err != nil && s.ctx.Err() == nil {
			s.logger.Warn("cannot bring our own node in the catalog up to date, will try again", "error", err)
		}
		if pause = min(2*pause, maxOwnWrite); time.Since(written) > 2*maxOwnWrite {
			pause = minOwnWrite
		}
		written = time.Now()
		wait.Reset(pause)
	}
}

// ownNode is our own node as the catalog is to have it.
func (s *Server) ownNode() *structs.RegisterRequest {
	meta := map[string]string{metaSegment: "", metaVersion: s.config.Build}
	maps.Copy(meta, s.config.NodeMeta)
	addr := s.serf.LocalMember().Addr.String()
	family := "ipv4"
	if isIPv6(addr) {
		family = "ipv6"
	}
	return &structs.RegisterRequest{
		Datacenter: s.config.Datacenter, Node: s.config.NodeName, ID: s.config.NodeID, Address: addr, NodeMeta: meta,
		TaggedAddresses: map[string]string{"lan": addr, "wan": addr, "lan_" + family: addr, "wan_" + family: addr},
	}
}

func (s *Server) isOwn(node *structs.Node) bool {
	own := s.ownNode()
	return node.Address == own.Address && maps.Equal(node.Meta, own.NodeMeta) && maps.Equal(node.TaggedAddresses, own.TaggedAddresses)
}

package rpcserver

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"praetor/structs"
)

// startSerf joins the gossip: alone at first.
func (s *Server) startSerf() error {
	config := serf.DefaultConfig()
	config.Init()
	config.NodeName = s.config.NodeName
	config.ProtocolVersion = 4 // Consul's
	config.Tags = s.tags()
	config.EventCh = s.events
	config.EnableNameConflictResolution = false
	config.LeavePropagateDelay = 3 * time.Second
	config.MinQueueDepth = 4096
	config.ReconnectTimeout = s.config.ReconnectTimeout
	config.RejoinAfterLeave = s.config.Gossip.RejoinAfterLeave
	config.ValidateNodeNames = false
	config.DisableCoordinates = s.config.DisableCoordinates
	config.Merge = mergeGuard{s}
	config.Logger = s.config.Logger.Named("serf").StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})

	m := memberlist.DefaultLANConfig()
	m.Name = s.config.NodeName
	m.BindAddr, m.BindPort = s.config.BindAddr, s.config.SerfPort
	m.AdvertiseAddr, m.AdvertisePort = s.config.AdvertiseAddr, s.config.SerfPort
	m.Logger = s.config.Logger.Named("memberlist").StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	m.DeadNodeReclaimTime = 30 * time.Second
	m.GossipVerifyIncoming, m.GossipVerifyOutgoing = s.config.Gossip.VerifyIncoming, s.config.Gossip.VerifyOutgoing
	m.GossipInterval, m.GossipNodes = s.config.Gossip.GossipInterval, s.config.Gossip.GossipNodes
	m.ProbeInterval, m.ProbeTimeout = s.config.Gossip.ProbeInterval, s.config.Gossip.ProbeTimeout
	m.SuspicionMult, m.RetransmitMult = s.config.Gossip.SuspicionMult, s.config.Gossip.RetransmitMult
	m.Transport = s.config.GossipTransport
	config.MemberlistConfig = m

	if s.config.DataDir != "" {
		config.SnapshotPath = filepath.Join(s.config.DataDir, "serf", "local.snapshot")
	}
	if err := s.gossipKeys(config); err != nil {
		return err
	}
	var err error
	if s.serf, err = serf.Create(config); err != nil {
		return fmt.Errorf("cannot start gossip (ports.serf_lan): %w", err)
	}
	return nil
}

// tags are what other servers, and Consul's agents, need to know of us.
func (s *Server) tags() map[string]string {
	_, port, _ := net.SplitHostPort(s.addr)
	tags := map[string]string{
		"role": "consul", "dc": s.config.Datacenter, "segment": "", "id": s.config.NodeID,
		"port": port, "build": s.config.Build + ":praetor",
		"vsn": "2", "vsn_min": "2", "vsn_max": "3", "raft_vsn": "3",
		"acls": "0", "ft_fs": "1", "ft_si": "1",
	}
	if s.config.Bootstrap {
		tags["bootstrap"] = "1"
	}
	if s.config.BootstrapExpect > 1 {
		tags["expect"] = strconv.Itoa(s.config.BootstrapExpect)
	}
	if s.config.ReadReplica {
		tags["read_replica"], tags["nonvoter"] = "1", "1"
	}
	if s.config.TLS.Incoming != nil {
		tags["use_tls"] = "1"
	}
	return tags
}

// gossipKeys sets up encryption. The keyring file wins over the configured key
// once it is there, since keys may have been rotated since.
func (s *Server) gossipKeys(config *serf.Config) error {
	keys := s.config.Gossip.Keys
	if len(keys) == 0 {
		return nil
	}
	if s.config.Gossip.KeyringFile && s.config.DataDir != "" {
		config.KeyringFile = filepath.Join(s.config.DataDir, "serf", "local.keyring")
		stored, err := readKeyring(config.KeyringFile)
		if errors.Is(err, os.ErrNotExist) {
			err = writeKeyring(config.KeyringFile, keys)
		} else if err == nil {
			keys = stored
		}
		if err != nil {
			return fmt.Errorf("gossip keyring: %w", err)
		}
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return fmt.Errorf("gossip encryption key (encrypt): %w", err)
	}
	config.MemberlistConfig.Keyring = ring
	return nil
}

// A keyring file is a JSON array of keys in base64, the first one encrypts.
func readKeyring(file string) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var encoded []string
	if err := json.Unmarshal(text, &encoded); err != nil || len(encoded) == 0 {
		return nil, fmt.Errorf("%s is not a keyring: %v", file, err)
	}
	keys := make([][]byte, len(encoded))
	for i, k := range encoded {
		if keys[i], err = base64.StdEncoding.DecodeString(k); err != nil {
			return nil, fmt.Errorf("%s is not a keyring: %w", file, err)
		}
	}
	return keys, nil
}

func writeKeyring(file string, keys [][]byte) error {
	encoded := make([]string, len(keys))
	for i, k := range keys {
		encoded[i] = base64.StdEncoding.EncodeToString(k)
	}
	text, err := json.Marshal(encoded)
	if err != nil {
		return err
	}
	return writeDurable(file, text)
}

// mergeGuard refuses to become one gossip pool with members we must not share
// one with.
type mergeGuard struct{ s *Server }

// NotifyMerge is serf's question whether to merge with these members. It also
// comes with each member that is said to be alive. Serf does not know who of
// them is: the status is StatusLeft or StatusNone, never StatusAlive.
func (g mergeGuard) NotifyMerge(others []*serf.Member) error {
	names := map[string]string{g.s.config.NodeID: g.s.config.NodeName}
	for _, m := range others {
		if dc := m.Tags["dc"]; dc != g.s.config.Datacenter {
			return fmt.Errorf("member %s is of datacenter %q, not %q", m.Name, dc, g.s.config.Datacenter)
		}
		if err := g.s.checkCluster(m); err != nil && m.Status != serf.StatusLeft {
			return err
		}
		id := m.Tags["id"]
		if id == "" || m.Status == serf.StatusLeft {
			continue
		}
		name, taken := names[id]
		if known, ok := g.s.members.byID(id); ok && !taken {
			name, taken = known.name, true
		}
		if taken && name != m.Name {
			return fmt.Errorf("members %s and %s have the same node id %s: was a data directory copied? "+
				"If one was renamed, take the old name out with 'force-leave'", name, m.Name, id)
		}
		names[id] = m.Name
	}
	return nil
}

// handleEvents follows gossip until the server stops.
func (s *Server) handleEvents() {
	for {
		select {
		case e := <-s.events:
			switch e := e.(type) {
			case serf.MemberEvent:
				s.memberEvent(e)
			case serf.UserEvent:
				s.userEvent(e)
			}
		case <-s.serf.ShutdownCh():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Server) memberEvent(e serf.MemberEvent) {
	for _, m := range e.Members {
		if server, ok := parseServer(m, s.config.Datacenter); ok {
			switch e.EventType() {
			case serf.EventMemberJoin, serf.EventMemberUpdate:
				s.members.set(server)
			default:
				s.members.remove(server)
				s.pool.Forget(server.addr)
			}
		}
		s.reconcileSoon(m)
	}
	if e.EventType() == serf.EventMemberJoin && s.expecting.Load() > 0 {
		s.maybeBootstrap()
	}
}

// reconcileSoon has the leader's loop look at a member.
func (s *Server) reconcileSoon(m serf.Member) {
	select {
	case s.reconcile <- m:
	default: // full: the next round over all members will see it
	}
}

// Join makes this server's gossip pool one with that of the servers at these
// addresses, host[:port]. It returns how many could be reached; the error is
// about those that could not.
func (s *Server) Join(addrs []string) (int, error) {
	// Serf lets one join at a time, behind a mutex, on which virtual time stands still.
	select {
	case s.joining <- struct{}{}:
		defer func() { <-s.joining }()
	case <-s.ctx.Done():
		return 0, errStopping
	}
	n, err := s.serf.Join(addrs, true)
	if n == 0 && err != nil {
		return 0, structs.Errorf(structs.Unreachable, "%v", err)
	}
	return n, nil
}

// Members returns everyone that gossip knows, dead or alive.
func (s *Server) Members() []serf.Member { return s.serf.Members() }

// LocalMember returns this server as gossip shows it.
func (s *Server) LocalMember() serf.Member { return s.serf.LocalMember() }

// Serf returns the gossip itself, for statistics, keys and coordinates.
func (s *Server) Serf() *serf.Serf { return s.serf }

// ForceLeave makes gossip take a failed member for one that left; with prune it
// is forgotten at once. A node that gossip does not know, but once did, leaves
// the catalog.
func (s *Server) ForceLeave(name string, prune bool) error {
	known := false
	for _, m := range s.serf.Members() {
		known = known || m.Name == name
	}
	if !known && s.wasMember(name) {
		return s.Call(s.ctx, "Catalog.Deregister", &structs.DeregisterRequest{Node: name}, &struct{}{})
	}
	if !known {
		return structs.Errorf(structs.NotFound, "agent: No node found with name '%s'", name)
	}
	if name == s.config.NodeName {
		return nil
	}
	if prune {
		return s.serf.RemoveFailedNodePrune(name)
	}
	return s.serf.RemoveFailedNode(name)
}

package rpcserver

import (
	"net/netip"
	"time"

	"github.com/hashicorp/serf/serf"

	"praetor/state"
	"praetor/structs"
)

// unknownNodes are nodes that have the check of a gossip member, but that
// gossip has never heard of: those of a snapshot that was restored into another
// cluster, or that went while there was no leader. Consul takes them out of the
// catalog within a minute, and with them the sessions and locks that the
// restore was about. Here they have time to come:
//
//   - for UnknownGrace nothing happens to them;
//   - then serfHealth turns critical, which ends the sessions that depend on it;
//   - after ReconnectTimeout, the time after which gossip forgets a member, they
//     are taken out, or before that by force-leave or a deregistration.
//
// The times begin when a leader first misses a node. The next leader, and one
// under which a snapshot was restored, begins anew: nothing comes early.
//
// Only the goroutine of the leader's duties uses it.
type unknownNodes struct {
	store *state.Store // in which they were missed
	since map[string]time.Time
}

func (u *unknownNodes) reset() { *u = unknownNodes{} }

// reconcileUnknown looks for nodes that gossip should know and does not.
func (s *Server) reconcileUnknown(members []serf.Member) {
	known := map[string]bool{}
	for _, m := range members {
		known[structs.FoldName(m.Name)] = true
	}
	missing := map[string]time.Time{}
	now := time.Now()
	store := s.fsm.Store()
	if store != s.unknown.store {
		s.unknown = unknownNodes{store: store}
	}
	for _, check := range store.Read().ChecksInState(structs.HealthAny) {
		name := structs.FoldName(check.Node)
		if check.CheckID != structs.SerfHealth || known[name] {
			continue
		}
		since, ok := s.unknown.since[name]
		if !ok {
			since = now
		}
		missing[name] = since
		var err error
		switch gone := now.Sub(since); {
		case gone >= s.config.ReconnectTimeout:
			err = s.deregisterNode(check.Node, "gossip has not known it for "+s.config.ReconnectTimeout.String())
		case gone >= s.config.UnknownGrace:
			err = s.turnCritical(check.Node, outputUnknown)
		}
		if err != nil && s.ctx.Err() == nil {
			s.logger.Warn("cannot bring a node that gossip does not know up to date", "node", check.Node, "error", err)
		}
	}
	if len(missing) > len(s.unknown.since) {
		s.logger.Warn("there are nodes in the catalog that gossip does not know: were they restored?",
			"nodes", len(missing), "critical_after", s.config.UnknownGrace, "removed_after", s.config.ReconnectTimeout)
	}
	s.unknown.since = missing
}

// wasMember reports whether the catalog knows the name as one of gossip.
func (s *Server) wasMember(name string) bool {
	return s.fsm.Store().Read().Check(name, structs.SerfHealth) != nil
}

func isIPv6(addr string) bool {
	ip, err := netip.ParseAddr(addr)
	return err == nil && ip.Is6() && !ip.Is4In6()
}

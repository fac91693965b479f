package rpcserver

import (
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/serf/serf"
)

// rejoinEvery is how often a server looks for peers that gossip does not know.
const rejoinEvery = 5 * time.Second

// A server that starts asks those that it knew once, and only once, to let it
// into gossip. When all start after a loss of power, it may find nobody there yet,
// and the others find each other without it. Raft does not need gossip to elect it;
// but a leader that gossip shows nobody takes read replicas out of raft for good.
// So whoever is in the raft configuration and gossip has never heard of is joined
// again, at the gossip port that we use ourselves.
//
// And a server that hears of no leader may be one that the others take for dead, and
// that is not in raft any more for that. Gossip tells the dead that they are for a
// moment only, and may have told it while nothing came through. Left to itself it
// finds out at its next exchange of everything with the right one of the others, one
// of them every 30 s. So such a server has one with those that it knows.

// rejoin looks after gossip until this server stops.
func (s *Server) rejoin() {
	every := time.NewTicker(rejoinEvery)
	defer every.Stop()
	for led := true; ; {
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
		unheard := s.unheard()
		talkTo, before := unheard, led
		if led = s.leaderAddr() != ""; !led && !before {
			talkTo = append(talkTo, s.peers()...)
		}
		if len(talkTo) == 0 {
			continue
		}
		done := make(chan struct{})
		go func() { // may take longer than this server has to stop
			defer close(done)
			n, err := s.Join(talkTo)
			switch {
			case err != nil:
				s.logger.Debug("cannot exchange gossip with other servers", "addresses", talkTo, "error", err)
			case len(unheard) > 0:
				s.logger.Info("joined raft servers that gossip did not know", "addresses", unheard, "reached", n)
			default:
				s.logger.Debug("there is no leader: exchanged gossip with other servers", "addresses", talkTo, "reached", n)
			}
		}()
		select {
		case <-done:
		case <-s.ctx.Done():
			return
		}
	}
}

// unheard are the gossip addresses of the raft servers that gossip does not know,
// neither dead nor alive.
func (s *Server) unheard() (addrs []string) {
	future := s.raft.GetConfiguration()
	if future.Error() != nil {
		return nil
	}
	known := map[string]bool{s.config.NodeID: true}
	for _, m := range s.serf.Members() {
		known[m.Tags["id"]] = true
	}
	port := strconv.Itoa(int(s.serf.LocalMember().Port))
	for _, server := range future.Configuration().Servers {
		if host, _, err := net.SplitHostPort(string(server.Address)); err == nil && !known[string(server.ID)] {
			addrs = append(addrs, net.JoinHostPort(host, port))
		}
	}
	return addrs
}

// peers are the gossip addresses of the servers that gossip calls alive, and of one
// that it calls failed: to find out that it is takes 10 s, in which nobody can join.
func (s *Server) peers() (alive []string) {
	var failed []string
	for _, m := range s.serf.Members() {
		if _, ok := parseServer(m, s.config.Datacenter); !ok || m.Tags["id"] == s.config.NodeID {
			continue
		}
		addr := net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port)))
		switch m.Status {
		case serf.StatusAlive, serf.StatusLeaving:
			alive = append(alive, addr)
		case serf.StatusFailed:
			failed = append(failed, addr)
		}
	}
	if len(failed) == 0 {
		return alive
	}
	return append(alive, failed[rand.IntN(len(failed))])
}

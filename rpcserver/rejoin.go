package rpcserver

import (
	"net"
	"strconv"
	"time"
)

// rejoinEvery is how often a server looks for peers that gossip does not know.
const rejoinEvery = 5 * time.Second

// A server that starts asks those that it knew once, and only once, to let it
// into gossip. When all start after a loss of power, it may find nobody there yet,
// and the others find each other without it. Raft does not need gossip to elect it;
// but a leader that gossip shows nobody takes read replicas out of raft for good.
// So whoever is in the raft configuration and gossip has never heard of is joined
// again, at the gossip port that we use ourselves.

// rejoin looks after gossip until this server stops.
func (s *Server) rejoin() {
	every := time.NewTicker(rejoinEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
		lost := s.unheard()
		if len(lost) == 0 {
			continue
		}
		done := make(chan struct{})
		go func() { // may take longer than this server has to stop
			defer close(done)
			if n, err := s.Join(lost); err != nil {
				s.logger.Debug("gossip does not know some of the raft servers, and they cannot be joined", "addresses", lost, "error", err)
			} else {
				s.logger.Info("joined raft servers that gossip did not know", "addresses", lost, "reached", n)
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

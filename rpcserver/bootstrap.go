package rpcserver

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// maybeBootstrap starts a new cluster once as many servers as expected are
// there and none of them belongs to a cluster. All of them do so with the same
// list, whoever comes first (consul-wire.md 9.3).
func (s *Server) maybeBootstrap() {
	if s.raft.LastIndex() > 0 {
		s.expecting.Store(0) // there is a state; the servers in it will find us
		return
	}
	var servers []member
	voters := 0
	for _, m := range s.serf.Members() {
		server, ok := parseServer(m, s.config.Datacenter)
		if !ok {
			continue
		}
		if server.expect != 0 && server.expect != s.config.BootstrapExpect {
			s.logger.Error("servers disagree on bootstrap_expect: set the same number on all",
				"ours", s.config.BootstrapExpect, "theirs", server.expect, "server", server.name)
			return
		}
		if server.bootstrap {
			s.logger.Error("a server was started with -bootstrap, so this one waits to be added by it", "server", server.name)
			return
		}
		if !server.readReplica {
			voters++
		}
		servers = append(servers, server)
	}
	if voters < int(s.expecting.Load()) {
		return
	}
	for _, server := range servers {
		peers, err := s.askPeers(server)
		if err != nil {
			s.logger.Warn("cannot ask a server whether it has a cluster, will try when another one joins", "server", server.name, "error", err)
			s.retryBootstrap()
			return
		}
		if len(peers) > 0 {
			s.logger.Info("there is a cluster, waiting to be added to it", "server", server.name, "peers", peers)
			s.expecting.Store(0)
			return
		}
	}
	var configuration raft.Configuration
	for _, server := range servers {
		peer := raft.Server{ID: raft.ServerID(server.id), Address: raft.ServerAddress(server.addr)}
		if server.readReplica {
			peer.Suffrage = raft.Nonvoter
		}
		configuration.Servers = append(configuration.Servers, peer)
	}
	s.logger.Info("found as many servers as expected, starting a cluster", "servers", len(servers))
	if err := s.raft.BootstrapCluster(configuration).Error(); err != nil {
		s.logger.Error("cannot start a cluster", "error", err)
	}
	s.expecting.Store(0)
}

// settleConfiguration has the first leader of a new cluster log the raft
// configuration that it began with. Each server began with the servers that
// gossip showed it, so one may know of a server that others do not, and raft,
// which takes entries of the same index and term for the same, would never tell.
func (s *Server) settleConfiguration() error {
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return err
	}
	if future.Index() > bootstrapIndex || len(future.Configuration().Servers) == 1 {
		return nil
	}
	// There is no request to log it as it is. Adding ourselves changes nothing in it.
	return configurationError(s.raft.AddVoter(raft.ServerID(s.config.NodeID), raft.ServerAddress(s.addr), 0, configurationTimeout).Error())
}

// bootstrapIndex is the index of the entry that raft begins a cluster with.
const bootstrapIndex = 1

// retryBootstrap looks again soon: no join event may come to remind us.
func (s *Server) retryBootstrap() {
	s.tasks.Go(func() {
		select {
		case <-time.After(time.Second):
			if s.expecting.Load() > 0 {
				s.maybeBootstrap()
			}
		case <-s.ctx.Done():
		}
	})
}

// askPeers asks a server for its raft configuration.
func (s *Server) askPeers(server member) (peers []string, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	conn, err := s.pool.Get(ctx, server.addr)
	if err == nil {
		err = conn.Call(ctx, "Status.Peers", &structs.DCSpecificRequest{}, &peers)
	}
	return peers, err
}

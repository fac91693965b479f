package rpcserver

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"praetor/structs"
)

// configurationTimeout is how long a change of the raft configuration may take.
const configurationTimeout = 10 * time.Second

func raftConfiguration(s *Server, _ *structs.DCSpecificRequest, reply *structs.RaftConfiguration) error {
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return err
	}
	reply.Index = future.Index()
	_, leader := s.raft.LeaderWithID()
	known := autopilotDelegate{s}.KnownServers()
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	var asks sync.WaitGroup
	for _, server := range future.Configuration().Servers {
		row := &structs.RaftServer{
			ID: string(server.ID), Node: "(unknown)", Address: string(server.Address),
			Leader: server.ID == leader, Voter: server.Suffrage == raft.Voter, ProtocolVersion: "3",
		}
		reply.Servers = append(reply.Servers, row)
		if at := known[server.ID]; at != nil {
			row.Node = at.Name
			if at.NodeStatus == autopilot.NodeAlive {
				asks.Go(func() {
					if stats, err := s.askStats(ctx, at); err == nil {
						row.LastIndex = stats.LastIndex
					}
				})
			}
		}
	}
	asks.Wait()
	return nil
}

// peer finds the server that a request names, by ID or by Address.
func (s *Server) peer(q *structs.RaftPeerRequest) (raft.Server, error) {
	if (q.ID == "") == (q.Address == "") {
		return raft.Server{}, structs.Errorf(structs.Invalid, "name the server by its id or by its address, one of the two")
	}
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return raft.Server{}, err
	}
	for _, server := range future.Configuration().Servers {
		if q.ID != "" && string(server.ID) == q.ID || q.Address != "" && string(server.Address) == q.Address {
			return server, nil
		}
	}
	if q.ID != "" {
		return raft.Server{}, structs.Errorf(structs.NotFound, "id %q was not found in the Raft configuration", q.ID)
	}
	return raft.Server{}, structs.Errorf(structs.NotFound, "address %q was not found in the Raft configuration", q.Address)
}

func raftAddPeer(s *Server, q *structs.RaftPeerRequest, _ *struct{}) error {
	if q.ID == "" || q.Address == "" {
		return structs.Errorf(structs.Invalid, "a new peer needs both its id and its address")
	}
	if _, _, err := net.SplitHostPort(q.Address); err != nil {
		return structs.Errorf(structs.Invalid, "address %q is not ip:port", q.Address)
	}
	if err := s.setDemoted(q.ID, q.NonVoter); err != nil {
		return err
	}
	id, addr := raft.ServerID(q.ID), raft.ServerAddress(q.Address)
	if q.NonVoter {
		return configurationError(s.raft.AddNonvoter(id, addr, 0, configurationTimeout).Error())
	}
	return configurationError(s.raft.AddVoter(id, addr, 0, configurationTimeout).Error())
}

func raftRemovePeer(s *Server, q *structs.RaftPeerRequest, _ *struct{}) error {
	server, err := s.peer(q)
	if err != nil {
		return err
	}
	if string(server.ID) == s.config.NodeID {
		if s.voters() == 1 {
			return structs.Errorf(structs.Conflict, "server %s is the only voter", server.ID)
		}
		return s.askNextLeader()
	}
	if err := s.setDemoted(string(server.ID), false); err != nil {
		return err
	}
	return configurationError(s.raft.RemoveServer(server.ID, 0, configurationTimeout).Error())
}

// askNextLeader hands leadership over and has the request asked there. A leader that
// takes itself out and ends before another server knows can stop a cluster for good:
// raft 1.7.3 has it stand for no election then, while the others may need its vote
// and are refused it, because its log is longer than theirs.
func (s *Server) askNextLeader() error {
	if err := s.raft.LeadershipTransfer().Error(); err != nil {
		return structs.Errorf(structs.Conflict, "this server leads and could not hand over leadership first: %v", err)
	}
	return structs.ErrNoLeader
}

func raftPromotePeer(s *Server, q *structs.RaftPeerRequest, _ *struct{}) error {
	server, err := s.peer(q)
	if err != nil {
		return err
	}
	if m, ok := s.members.byID(string(server.ID)); ok && m.readReplica {
		return structs.Errorf(structs.Conflict, "server %s is a read replica: restart it without -read-replica to let it vote", m.name)
	}
	if err := s.setDemoted(string(server.ID), false); err != nil {
		return err
	}
	return configurationError(s.raft.AddVoter(server.ID, server.Address, 0, configurationTimeout).Error())
}

func raftDemotePeer(s *Server, q *structs.RaftPeerRequest, _ *struct{}) error {
	server, err := s.peer(q)
	if err != nil {
		return err
	}
	if s.voters() == 1 && server.Suffrage == raft.Voter {
		return structs.Errorf(structs.Conflict, "server %s is the only voter", server.ID)
	}
	if string(server.ID) == s.config.NodeID {
		return structs.Errorf(structs.Conflict, "server %s leads: run 'operator raft transfer-leader' first", server.ID)
	}
	if err := s.setDemoted(string(server.ID), true); err != nil {
		return err
	}
	return configurationError(s.raft.DemoteVoter(server.ID, 0, configurationTimeout).Error())
}

func transferLeader(s *Server, q *structs.RaftPeerRequest, reply *structs.LeadershipTransfer) error {
	if q.ID == "" {
		if err := s.raft.LeadershipTransfer().Error(); err != nil {
			return structs.Errorf(structs.Conflict, "%v", err)
		}
		reply.Success = true
		return nil
	}
	server, err := s.peer(&structs.RaftPeerRequest{ID: q.ID})
	if err != nil {
		return structs.Errorf(structs.NotFound, "Could not find address for server id %s", q.ID)
	}
	if server.Suffrage != raft.Voter {
		return structs.Errorf(structs.Conflict, "server %s does not vote, so it cannot lead", server.ID)
	}
	if err := s.raft.LeadershipTransferToServer(server.ID, server.Address).Error(); err != nil {
		return structs.Errorf(structs.Conflict, "%v", err)
	}
	reply.Success = true
	return nil
}

// configurationError gives raft's errors about its configuration their codes.
func configurationError(err error) error {
	if err == nil {
		return nil
	}
	return applyError(err)
}

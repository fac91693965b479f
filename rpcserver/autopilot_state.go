package rpcserver

import (
	"cmp"
	"slices"

	autopilot "github.com/hashicorp/raft-autopilot"
	"github.com/hashicorp/serf/serf"

	"praetor/structs"
)

// autopilotState answers with autopilot's latest view of the servers.
func autopilotState(s *Server, _ *structs.DCSpecificRequest, reply *structs.AutopilotState) error {
	state := s.autopilot.GetState()
	if state == nil || len(state.Servers) == 0 {
		return structs.Errorf(structs.NotReady, "autopilot has not looked at the servers yet")
	}
	*reply = structs.AutopilotState{
		Healthy: state.Healthy, FailureTolerance: state.FailureTolerance, Leader: string(state.Leader),
		Servers: make(map[string]*structs.AutopilotServerState, len(state.Servers)),
	}
	for _, id := range state.Voters {
		reply.Voters = append(reply.Voters, string(id))
	}
	for id, server := range state.Servers {
		reply.Servers[string(id)] = &structs.AutopilotServerState{
			Server: structs.AutopilotServer{
				ID: string(id), Name: server.Server.Name, Address: string(server.Server.Address),
				NodeStatus: string(server.Server.NodeStatus), Version: server.Server.Version, Meta: server.Server.Meta,
				IsLeader: server.Server.IsLeader, NodeType: string(server.Server.NodeType),
			},
			State: string(server.State),
			Stats: structs.AutopilotServerStats{
				LastContact: server.Stats.LastContact, LastTerm: server.Stats.LastTerm, LastIndex: server.Stats.LastIndex,
			},
			Health: structs.AutopilotServerHealth{Healthy: server.Health.Healthy, StableSince: server.Health.StableSince},
		}
	}
	return nil
}

// serfStatus is gossip's number of a status of autopilot's.
var serfStatus = map[string]serf.MemberStatus{
	string(autopilot.NodeAlive): serf.StatusAlive, string(autopilot.NodeFailed): serf.StatusFailed, string(autopilot.NodeLeft): serf.StatusLeft,
}

// serverHealth answers with the same view, as a list of servers in order of
// their names.
func serverHealth(s *Server, q *structs.DCSpecificRequest, reply *structs.OperatorHealthReply) error {
	var state structs.AutopilotState
	if err := autopilotState(s, q, &state); err != nil {
		return err
	}
	reply.Healthy, reply.FailureTolerance = state.Healthy, state.FailureTolerance
	for id, server := range state.Servers {
		reply.Servers = append(reply.Servers, structs.ServerHealth{
			ID: id, Name: server.Server.Name, Address: server.Server.Address, SerfStatus: int(serfStatus[server.Server.NodeStatus]),
			Version: server.Server.Version, Leader: server.State == string(autopilot.RaftLeader),
			LastContact: server.Stats.LastContact, LastTerm: server.Stats.LastTerm, LastIndex: server.Stats.LastIndex,
			Healthy: server.Health.Healthy, StableSince: server.Health.StableSince,
			Voter: server.State == string(autopilot.RaftLeader) || server.State == string(autopilot.RaftVoter),
		})
	}
	slices.SortFunc(reply.Servers, func(a, b structs.ServerHealth) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

package rpcserver

import (
	"strconv"
	"time"

	"praetor/rpcserver/wire"
	"praetor/structs"
)

func statusPing(*Server, *wire.Empty, *wire.Empty) error { return nil }

// statusLeader answers with the leader's raft address, "" if there is none.
func statusLeader(s *Server, _ *structs.DCSpecificRequest, reply *string) error {
	*reply = s.leaderAddr()
	return nil
}

// statusPeers answers with the addresses in the raft configuration.
func statusPeers(s *Server, _ *structs.DCSpecificRequest, reply *[]string) error {
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return err
	}
	for _, server := range future.Configuration().Servers {
		*reply = append(*reply, string(server.Address))
	}
	return nil
}

// statusRaftStats answers how far this server is, for autopilot on the leader.
func statusRaftStats(s *Server, _ *struct{}, reply *structs.RaftStats) error {
	stats := s.raft.Stats()
	reply.LastContact = stats["last_contact"]
	if reply.LastContact == "" {
		reply.LastContact = time.Duration(0).String()
	}
	var err error
	if reply.LastIndex, err = strconv.ParseUint(stats["last_log_index"], 10, 64); err != nil {
		return err
	}
	reply.LastTerm, err = strconv.ParseUint(stats["last_log_term"], 10, 64)
	return err
}

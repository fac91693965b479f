package rpcserver

import (
	"github.com/hashicorp/serf/serf"

	"praetor/structs"
)

// keyringOperation asks all members of the gossip to list or change their keys.
// Each of them keeps its keyring file up to date.
//
// Consul's servers are in two pools, the datacenter's and that of all servers;
// its clients expect to hear of both, the second one first, and rotate keys in
// both. Ours are in one that is both: it is asked once, and shown twice.
func keyringOperation(s *Server, q *structs.KeyringRequest, reply *structs.KeyringResponses) error {
	if q.Datacenter != "" && q.Datacenter != s.config.Datacenter {
		return structs.ErrNoPath
	}
	if q.RelayFactor > structs.MaxRelayFactor {
		return structs.Errorf(structs.Invalid, "Relay factor must be in range: [0, %d]", structs.MaxRelayFactor)
	}
	keys, options := s.serf.KeyManager(), &serf.KeyRequestOptions{RelayFactor: q.RelayFactor}
	var answer *serf.KeyResponse
	var err error
	switch q.Operation {
	case structs.KeyringList:
		answer, err = keys.ListKeysWithOptions(options)
	case structs.KeyringInstall:
		answer, err = keys.InstallKeyWithOptions(q.Key, options)
	case structs.KeyringUse:
		answer, err = keys.UseKeyWithOptions(q.Key, options)
	case structs.KeyringRemove:
		answer, err = keys.RemoveKeyWithOptions(q.Key, options)
	default:
		return structs.Errorf(structs.Invalid, "unknown keyring operation %q: use list, install, use or remove", q.Operation)
	}
	pool := structs.KeyringResponse{Datacenter: s.config.Datacenter}
	if answer != nil {
		pool.Messages, pool.Keys, pool.PrimaryKeys, pool.NumNodes = answer.Messages, answer.Keys, answer.PrimaryKeys, answer.NumNodes
	}
	if err != nil {
		pool.Error = err.Error()
	}
	if q.Operation != structs.KeyringList {
		s.logger.Info("gossip keys", "operation", q.Operation, "error", pool.Error)
	}
	if !q.LocalOnly {
		servers := pool
		servers.WAN = true
		reply.Responses = append(reply.Responses, &servers)
	}
	reply.Responses = append(reply.Responses, &pool)
	return nil
}

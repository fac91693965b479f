package rpcserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"praetor/fsm"
)

// PeersInfo is the text of peers.info, which explains peers.json to whoever
// needs it. Its presence also says that the server has started before.
const PeersInfo = `A cluster that has lost more than half of its servers for good cannot elect a
leader. To go on with the servers that are left:

With all of them stopped, "praetor operator recover DATA-DIR" says which of them
has most, what may be lost, and writes the file that is described here. By hand:

1. Stop all of them.
2. On each, write a file peers.json into this directory, the same on all, which
   lists every server that is left:

   [
     {"id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "address": "10.1.0.1:8300", "non_voter": false},
     {"id": "8b6dda82-3103-11e7-93ae-92361f002671", "address": "10.1.0.2:8300", "non_voter": false}
   ]

   "id" is in the file node-id of that server's data directory, "address" is
   where its RPC port is reached. "non_voter" may be left out.
3. Start them. Each takes the list over and deletes the file.

Whatever was not yet on one of these servers is lost. Entries that were on one
of them but never committed may come into force.
`

// recoverQuorum takes over the raft configuration of peers.json, if an operator
// left one (consul-wire.md 11.2). On the very first start such a file is
// deleted unread, since it cannot be meant for this server.
func (s *Server) recoverQuorum(config *raft.Config, logs raft.LogStore, snapshots raft.SnapshotStore) error {
	dir := filepath.Join(s.config.DataDir, "raft")
	info, peers := filepath.Join(dir, "peers.info"), filepath.Join(dir, "peers.json")
	if _, err := os.Stat(info); errors.Is(err, os.ErrNotExist) {
		if err := os.Remove(peers); err == nil {
			s.logger.Warn("deleted peers.json: this data directory is new, there is nothing to recover", "file", peers)
		}
		if err := os.WriteFile(info, []byte(PeersInfo), 0o644); err != nil {
			return fmt.Errorf("cannot write to the data directory: %w", err)
		}
		return nil
	}
	if _, err := os.Stat(peers); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	configuration, err := raft.ReadConfigJSON(peers)
	if err != nil {
		return fmt.Errorf("cannot recover: %s: %w: see %s for what it must look like", peers, err, info)
	}
	s.logger.Warn("found peers.json, recovering", "servers", len(configuration.Servers))
	if err := raft.RecoverCluster(config, fsm.Recovering(), logs, s.logs, snapshots, s.raftTrans, configuration); err != nil {
		return fmt.Errorf("cannot recover with %s: %w", peers, err)
	}
	if err := os.Remove(peers); err != nil {
		return fmt.Errorf("recovered, but cannot delete peers.json: delete it by hand: %w", err)
	}
	s.logger.Warn("recovered, deleted peers.json")
	return nil
}

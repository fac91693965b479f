package rpcserver

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// ClusterID returns the id that the cluster's backups bear, "" while it is not known.
func (s *Server) ClusterID() string { return s.ownCluster() }

// Committed returns the first index that is in the log here, and the last that
// is committed and applied.
func (s *Server) Committed() (first, last uint64, err error) {
	if first, err = s.logs.FirstIndex(); err != nil {
		return 0, 0, fmt.Errorf("read the raft log: %w", err)
	}
	return first, min(s.raft.CommitIndex(), s.raft.AppliedIndex()), nil
}

// Entry reads an entry of the log here. One that is not there, because it was
// compacted or because a snapshot was restored at its index, has code NotFound;
// so has one that is damaged and that a snapshot covers.
func (s *Server) Entry(index uint64) (*raft.Log, error) {
	log := new(raft.Log)
	err := timedStore{s.logs, s}.GetLog(index, log)
	if errors.Is(err, raft.ErrLogNotFound) {
		return nil, structs.Errorf(structs.NotFound, "entry %d is not in the log", index)
	}
	if err != nil {
		return nil, fmt.Errorf("read entry %d of the raft log: %w", index, err)
	}
	return log, nil
}

// LogChain returns the id of the chain that the state belongs to, and the index
// at which it began; "" if the log was never archived.
func (s *Server) LogChain() (id string, start uint64) {
	if e := s.fsm.Store().Read().MetadataEntry(structs.LogChainKey); e != nil {
		return e.Value, e.ModifyIndex
	}
	return "", 0
}

// StartLogChain has the state belong to another chain from now on.
func (s *Server) StartLogChain(id string) error {
	_, err := s.apply(&structs.MetadataRequest{
		Datacenter: s.config.Datacenter, Op: structs.MetadataUpsert,
		Entry: &structs.MetadataEntry{Key: structs.LogChainKey, Value: id},
	})
	return err
}

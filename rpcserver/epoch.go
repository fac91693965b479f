package rpcserver

import (
	"github.com/hashicorp/go-uuid"

	"praetor/fsm"
	"praetor/structs"
)

// Epoch is the id of the epoch of this server's state, "" while there is none or
// it may not be the cluster's.
func (s *Server) Epoch() string {
	store := s.fsm.Store()
	if !s.proven(store) {
		return ""
	}
	return store.Epoch().ID
}

// keepEpoch begins an epoch if there is none: in a new cluster, and after the
// recovery of a lost quorum.
func (s *Server) keepEpoch() error {
	if s.fsm.Store().Epoch().ID != "" {
		return nil
	}
	id, err := uuid.GenerateUUID()
	if err != nil {
		return err
	}
	if _, err := s.apply(&structs.MetadataRequest{
		Datacenter: s.config.Datacenter, Op: structs.MetadataUpsert,
		Entry: &structs.MetadataEntry{Key: structs.EpochKey, Value: id},
	}); err != nil {
		return err
	}
	return s.barrier(barrierTimeout) // one entry more, as proven wants to see
}

// newEpoch is what a snapshot must end with that is to be restored.
func newEpoch() ([]byte, error) {
	id, err := uuid.GenerateUUID()
	if err != nil {
		return nil, err
	}
	return fsm.EpochRecord(id)
}

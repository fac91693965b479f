package rpcserver

import (
	"github.com/hashicorp/go-uuid"

	"praetor/fsm"
	"praetor/structs"
)

// Epoch is the id of the epoch of this server's state, "" while it has none.
func (s *Server) Epoch() string { return s.fsm.Store().Epoch().ID }

// keepEpoch begins an epoch if there is none: in a new cluster, and after the
// recovery of a lost quorum.
func (s *Server) keepEpoch() error {
	if s.Epoch() != "" {
		return nil
	}
	id, err := uuid.GenerateUUID()
	if err != nil {
		return err
	}
	_, err = s.apply(&structs.MetadataRequest{
		Datacenter: s.config.Datacenter, Op: structs.MetadataUpsert,
		Entry: &structs.MetadataEntry{Key: structs.EpochKey, Value: id},
	})
	return err
}

// newEpoch is what a snapshot must end with that is to be restored.
func newEpoch() ([]byte, error) {
	id, err := uuid.GenerateUUID()
	if err != nil {
		return nil, err
	}
	return fsm.EpochRecord(id)
}

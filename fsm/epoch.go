package fsm

import (
	"github.com/hashicorp/raft"

	"praetor/structs"
)

// EpochRecord is what stands behind the stream of a snapshot that is about to be
// restored: whoever takes the snapshot over, from the leader or from its own
// disk, begins this epoch at the raft index that the snapshot has there. It wins
// over the epoch of the cluster that the snapshot is from.
func EpochRecord(id string) ([]byte, error) {
	begin := structs.MetadataEntry{Key: structs.EpochKey, Value: id}
	return structs.AppendValue([]byte{byte(structs.SystemMetadataRequestType)}, &begin)
}

// Recovering returns an FSM for raft.RecoverCluster. The snapshot that it
// leaves behind has an epoch without an id, so that the first leader makes
// another: what was acknowledged before may be lost. All servers that recover
// do the same to their state, and need not agree on an id.
func Recovering() raft.FSM { return recovering{New()} }

type recovering struct{ *FSM }

// Snapshot ends the epoch first.
func (r recovering) Snapshot() (raft.FSMSnapshot, error) {
	r.Store().EndEpoch()
	return r.FSM.Snapshot()
}

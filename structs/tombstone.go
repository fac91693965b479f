package structs

import "time"

// Tombstone remembers that a key, or every key under a prefix, was deleted, so
// that the index of a list never goes back while somebody may be waiting on it.
type Tombstone struct {
	Key   string
	Index uint64 // raft index of the delete

	// What the key would still remember, had it not been deleted; see DirEntry.
	LockIndex      uint64
	LockDelay      time.Duration
	LockDelayIndex uint64
}

// TombstoneReap is the one operation of a TombstoneRequest.
const TombstoneReap = "reap"

// TombstoneRequest forgets all tombstones whose index is at most ReapIndex.
type TombstoneRequest struct {
	Datacenter string
	Op         string
	ReapIndex  uint64
	WriteRequest
}

// Type makes TombstoneRequest a Command.
func (*TombstoneRequest) Type() MessageType { return TombstoneRequestType }

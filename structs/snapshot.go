package structs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SnapshotOp is what a snapshot connection is for.
type SnapshotOp int

// The operations of the snapshot RPC.
const (
	SnapshotSave    SnapshotOp = 0
	SnapshotRestore SnapshotOp = 1
)

// SnapshotRequest opens the exchange on a snapshot connection (first byte 5).
type SnapshotRequest struct {
	Datacenter string
	Token      string
	AllowStale bool
	Op         SnapshotOp
	Forwarded  bool `codec:",omitempty"` // ours: sent on by a server that takes us for the leader

	// SkipEnterprise is ours: restore leaves out the records of Consul Enterprise
	// instead of refusing the snapshot for them.
	SkipEnterprise bool `codec:",omitempty"`
}

// SnapshotResponse answers a SnapshotRequest; for a save the archive follows.
// Code is ours: Consul's readers look past it.
type SnapshotResponse struct {
	Error string
	Code  Code `codec:",omitempty"`
	QueryMeta

	Dropped Dropped `codec:",omitempty"` // ours: what SkipEnterprise left out
}

// Dropped counts the records of a snapshot that were left out, by type.
type Dropped map[MessageType]int

// String lists them in order of type; it is empty if there are none.
func (d Dropped) String() string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(d)) {
		list = append(list, fmt.Sprintf("%d of type %d", d[kind], kind))
	}
	return strings.Join(list, ", ")
}

// SnapshotHeader is the first value of a snapshot stream.
type SnapshotHeader struct {
	LastIndex uint64 // highest index of any table
}

// ChunkingState is the snapshot record of large entries of which not all
// chunks have arrived.
type ChunkingState struct {
	ChunkMap map[uint64][]*Chunk // by operation number; nil where a chunk is missing
}

// Chunk is one part of a large entry.
type Chunk struct {
	OpNum       uint64
	SequenceNum uint32
	NumChunks   uint32
	Term        uint64
	Data        []byte
}

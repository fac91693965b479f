package rpcserver

import (
	"io"

	"github.com/hashicorp/raft"
)

// indexedSnapshots is a snapshot store whose sources say which index they were
// taken at. Raft does not tell the FSM, which must know where its history begins.
type indexedSnapshots struct{ raft.SnapshotStore }

// Open opens a snapshot.
func (s indexedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, source, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	return meta, indexedSource{source, meta.Index}, nil
}

type indexedSource struct {
	io.ReadCloser
	index uint64
}

// SnapshotIndex is the raft index at which the snapshot was taken.
func (s indexedSource) SnapshotIndex() uint64 { return s.index }

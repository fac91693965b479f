package rpcserver

import (
	"errors"

	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// walStore is a raft-wal that gives its directory back when it is closed: the
// library leaves its meta store open, and with that locked, until the process
// ends (raft-wal v0.4.0).
type walStore struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

// Close closes log and meta store.
func (w walStore) Close() error { return errors.Join(w.WAL.Close(), w.meta.Close()) }

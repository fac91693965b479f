package logstore

import (
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// A raft.db has a bucket "logs" with entries in msgpack under their index, 8
// bytes big-endian, and a bucket "conf" with the stable values.
var boltBuckets = []string{"logs", "conf"}

func openBolt(file string, o Options) (backend, error) {
	store, err := raftboltdb.New(raftboltdb.Options{Path: file, BoltOptions: &bbolt.Options{
		Timeout:        time.Second,
		NoFreelistSync: !o.FreelistSync,
		FreelistType:   bbolt.FreelistMapType, // the other kind is slow once the log has been cut often
	}})
	if err != nil {
		return nil, err
	}
	return store, nil
}

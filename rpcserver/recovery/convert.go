package recovery

import (
	"os"
	"path/filepath"
	"strings"

	"praetor/rpcserver"
	"praetor/rpcserver/logstore"
	"praetor/structs"
)

// Convert makes a log of another backend of the one in a data directory, which is
// locked meanwhile. See logstore.Convert.
func Convert(dataDir, to string, dry bool) (c logstore.Conversion, err error) {
	dir, err := lock(dataDir)
	if err != nil {
		return c, err
	}
	defer dir.close()
	raftDir := filepath.Join(dir.path, "raft")
	if log, err := logstore.Read(raftDir); structs.IsCode(err, structs.NotFound) || structs.IsCode(err, structs.Busy) {
		return c, err
	} else if err == nil {
		log.Close()
	}
	id, err := os.ReadFile(filepath.Join(dir.path, "node-id"))
	if err != nil {
		return c, err
	}
	r := rpcserver.DefaultConfig().Raft
	return logstore.Convert(raftDir, strings.ToLower(strings.TrimSpace(string(id))), to,
		logstore.Options{FreelistSync: r.FreelistSync, SegmentSize: r.SegmentSize}, dry)
}

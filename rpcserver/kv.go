package rpcserver

import (
	"praetor/state"
	"praetor/structs"
)

// kvApply checks a change of keys before it goes into the log.
func kvApply(s *Server, c *structs.KVSRequest) error {
	switch c.Op {
	case structs.KVSet, structs.KVCAS, structs.KVDelete, structs.KVDeleteCAS:
		if c.DirEnt.Key == "" {
			return structs.Errorf(structs.Invalid, "Must provide key")
		}
	case structs.KVDeleteTree:
	case structs.KVLock, structs.KVUnlock:
		return structs.Errorf(structs.Unsupported, "Praetor has no sessions yet, so keys cannot be locked or unlocked")
	default:
		return structs.Errorf(structs.Invalid, "unknown KV operation: %s", c.Op)
	}
	return s.checkSize("value", len(c.DirEnt.Value))
}

func kvGet(r *state.Reader, q *structs.KeyRequest, reply *structs.IndexedDirEntries) error {
	if entry := r.KV(q.Key); entry != nil {
		reply.Entries = []*structs.DirEntry{entry}
	}
	return nil
}

func kvList(r *state.Reader, q *structs.KeyRequest, reply *structs.IndexedDirEntries) error {
	reply.Entries = r.KVTree(q.Key)
	return nil
}

func kvListKeys(r *state.Reader, q *structs.KeyListRequest, reply *structs.IndexedKeyList) error {
	reply.Keys = r.KVKeys(q.Prefix, q.Seperator)
	return nil
}

package rpcserver

import (
	"praetor/state"
	"praetor/structs"
)

// kvApply checks a change of keys before it goes into the log.
func kvApply(s *Server, c *structs.KVSRequest) error {
	entry := &c.DirEnt
	entry.TTLIndex, entry.LockDelay, entry.LockDelayIndex = 0, 0, 0
	switch c.Op {
	case structs.KVSet, structs.KVLock, structs.KVUnlock, structs.KVCAS, structs.KVDelete, structs.KVDeleteCAS:
		if entry.Key == "" {
			return structs.Errorf(structs.Invalid, "Must provide key")
		}
	case structs.KVDeleteTree:
	default:
		return structs.Errorf(structs.Invalid, "unknown KV operation: %s", c.Op)
	}
	if err := structs.CheckKeyTTL(entry.TTL); err != nil {
		return err
	}
	if err := s.checkSize("value", len(entry.Value)); err != nil {
		return err
	}
	if c.Op == structs.KVLock {
		var over bool
		if entry.LockDelayIndex, over = s.lockDelayOver(s.fsm.Store().Read(), entry.Key); !over {
			return errAnswered
		}
	}
	return nil
}

// kvApplied words the errors of commands as Consul does.
func kvApplied(_ *Server, _ *structs.KVSRequest, err error) error {
	return refusal("raft apply failed", err)
}

// refusal is a command's error as Consul's clients know it. All others are raft's
// or ours, and stay as they are.
func refusal(prefix string, err error) error {
	switch structs.CodeOf(err) {
	case structs.Invalid, structs.Conflict, structs.NotFound:
		return structs.Errorf(structs.CodeOf(err), "%s: %v", prefix, err)
	}
	return err
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

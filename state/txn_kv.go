package state

import "praetor/structs"

// txnKV runs an operation that changes keys.
func (w *Writer) txnKV(op *structs.TxnKVOp) ([]structs.TxnResult, error) {
	entry := &op.DirEnt
	switch op.Verb {
	case structs.KVSet:
		w.setKV(entry)
	case structs.KVCAS:
		if !w.casKV(entry) {
			return nil, structs.Errorf(structs.Conflict, "failed to set key %q, index is stale", entry.Key)
		}
	case structs.KVDelete:
		w.deleteKV(entry.Key)
		return nil, nil
	case structs.KVDeleteTree:
		w.deleteKVTree(entry.Key)
		return nil, nil
	case structs.KVDeleteCAS:
		if !w.deleteCASKV(entry) {
			return nil, structs.Errorf(structs.Conflict, "failed to delete key %q, index is stale", entry.Key)
		}
		return nil, nil
	case structs.KVLock:
		done, err := w.lockKV(entry)
		if err != nil {
			return nil, err
		}
		if !done {
			return nil, w.whyNotLocked(entry)
		}
	case structs.KVUnlock:
		done, err := w.unlockKV(entry)
		if err != nil {
			return nil, err
		}
		if !done {
			return nil, structs.Errorf(structs.Conflict, "failed to unlock key %q, lock isn't held, or is held by another session", entry.Key)
		}
	default:
		return nil, unknownVerb("KV", op.Verb)
	}
	return blank(w.KV(entry.Key)), nil
}

// whyNotLocked says why a session that is there could not have a lock.
func (w *Writer) whyNotLocked(entry *structs.DirEntry) error {
	if _, left := w.LockDelay(entry.Key); left > entry.LockDelayIndex {
		return structs.ErrLockDelay(entry.Key)
	}
	return structs.Errorf(structs.Conflict, "failed to lock key %q, lock is already held", entry.Key)
}

// txnKV runs an operation that reads or checks keys.
func (r *Reader) txnKV(op *structs.TxnKVOp) ([]structs.TxnResult, error) {
	name := op.DirEnt.Key
	if op.Verb == structs.KVGetTree {
		found := r.KVTree(name)
		rows, clones := make([]structs.TxnResult, len(found)), make([]structs.DirEntry, len(found))
		for i, entry := range found {
			clones[i] = *entry
			rows[i].KV = &clones[i]
		}
		return rows, nil
	}
	entry := r.KV(name)
	switch op.Verb {
	case structs.KVGet:
		if entry == nil {
			return nil, structs.Errorf(structs.NotFound, "key %q doesn't exist", name)
		}
		return full(entry), nil
	case structs.KVGetOrEmpty:
		if entry == nil {
			entry = &structs.DirEntry{Key: name}
		}
		return full(entry), nil
	case structs.KVCheckNotExists:
		if entry != nil {
			return nil, structs.Errorf(structs.Conflict, "key %q exists", name)
		}
		return nil, nil
	case structs.KVCheckIndex:
		if entry == nil {
			return nil, structs.Errorf(structs.NotFound, "failed to check index, key %q doesn't exist", name)
		}
		if entry.ModifyIndex != op.DirEnt.ModifyIndex {
			return nil, structs.Errorf(structs.Conflict, "failed index check for key %q, current modify index %d != %d",
				name, entry.ModifyIndex, op.DirEnt.ModifyIndex)
		}
	case structs.KVCheckSession:
		if entry == nil {
			return nil, structs.Errorf(structs.NotFound, "failed to check session, key %q doesn't exist", name)
		}
		if entry.Session != op.DirEnt.Session {
			return nil, structs.Errorf(structs.Conflict, "failed session check for key %q, current session %q != %q",
				name, entry.Session, op.DirEnt.Session)
		}
	case structs.KVCheckFence:
		if err := r.fenced(&structs.Fence{Key: name, LockIndex: op.DirEnt.LockIndex}); err != nil {
			return nil, err
		}
	default:
		return nil, unknownVerb("KV", op.Verb)
	}
	return blank(entry), nil
}

// full is a row as a result.
func full(entry *structs.DirEntry) []structs.TxnResult {
	row := *entry
	return []structs.TxnResult{{KV: &row}}
}

// blank is a row as a result whose value nobody has asked for.
func blank(entry *structs.DirEntry) []structs.TxnResult {
	row := *entry
	row.Value = nil
	return []structs.TxnResult{{KV: &row}}
}

func unknownVerb[V ~string](kind string, verb V) error {
	return structs.Errorf(structs.Invalid, "unknown %s operation: %s", kind, verb)
}

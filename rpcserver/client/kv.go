package client

import (
	"context"
	"time"

	"praetor/structs"
)

// KV reads and changes keys.
type KV struct {
	c     *Client
	fence *structs.Fence // of writes, if there is one
}

// KV returns the calls about keys.
func (c *Client) KV() KV { return KV{c: c} }

// Get returns the entry of a key, nil if there is none, and the meta data of
// the reply. A nil q means the defaults: the leader answers at once. With
// q.MinQueryIndex it waits for a change, up to q.MaxQueryTime.
func (kv KV) Get(ctx context.Context, key string, q *structs.QueryOptions) (*structs.DirEntry, structs.QueryMeta, error) {
	var reply structs.IndexedDirEntries
	request := structs.KeyRequest{Datacenter: kv.c.config.Datacenter, Key: key, QueryOptions: options(q)}
	err := kv.c.Read(ctx, "KV.Get", &request, &reply, waiting(q))
	if err != nil || len(reply.Entries) == 0 {
		return nil, reply.QueryMeta, err
	}
	return reply.Entries[0], reply.QueryMeta, nil
}

// List returns the entries whose keys begin with prefix, in key order.
func (kv KV) List(ctx context.Context, prefix string, q *structs.QueryOptions) ([]*structs.DirEntry, structs.QueryMeta, error) {
	var reply structs.IndexedDirEntries
	request := structs.KeyRequest{Datacenter: kv.c.config.Datacenter, Key: prefix, QueryOptions: options(q)}
	err := kv.c.Read(ctx, "KV.List", &request, &reply, waiting(q))
	return reply.Entries, reply.QueryMeta, err
}

// Keys returns the keys that begin with prefix, in order. With a separator each
// is cut behind the first one after the prefix.
func (kv KV) Keys(ctx context.Context, prefix, separator string, q *structs.QueryOptions) ([]string, structs.QueryMeta, error) {
	var reply structs.IndexedKeyList
	request := structs.KeyListRequest{Datacenter: kv.c.config.Datacenter, Prefix: prefix, Seperator: separator, QueryOptions: options(q)}
	err := kv.c.Read(ctx, "KV.ListKeys", &request, &reply, waiting(q))
	return reply.Keys, reply.QueryMeta, err
}

// Put sets a key.
func (kv KV) Put(ctx context.Context, key string, value []byte) error {
	_, err := kv.Apply(ctx, structs.KVSet, structs.DirEntry{Key: key, Value: value})
	return err
}

// CAS sets a key if its ModifyIndex is still index, 0 meaning that there must
// be no such key, and returns whether it did.
func (kv KV) CAS(ctx context.Context, key string, value []byte, index uint64) (bool, error) {
	return kv.Apply(ctx, structs.KVCAS, structs.DirEntry{Key: key, Value: value, RaftIndex: structs.RaftIndex{ModifyIndex: index}})
}

// Delete removes a key. That it was not there is no error.
func (kv KV) Delete(ctx context.Context, key string) error {
	_, err := kv.Apply(ctx, structs.KVDelete, structs.DirEntry{Key: key})
	return err
}

// DeleteCAS removes a key if its ModifyIndex is still index, and returns
// whether the key is gone.
func (kv KV) DeleteCAS(ctx context.Context, key string, index uint64) (bool, error) {
	return kv.Apply(ctx, structs.KVDeleteCAS, structs.DirEntry{Key: key, RaftIndex: structs.RaftIndex{ModifyIndex: index}})
}

// DeleteTree removes all keys that begin with prefix; every key if it is empty.
func (kv KV) DeleteTree(ctx context.Context, prefix string) error {
	_, err := kv.Apply(ctx, structs.KVDeleteTree, structs.DirEntry{Key: prefix})
	return err
}

// PutTTL sets a key that goes by itself if it is not set for as long as ttl.
func (kv KV) PutTTL(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := kv.Apply(ctx, structs.KVSet, structs.DirEntry{Key: key, Value: value, TTL: ttl})
	return err
}

// Acquire sets a key and takes its lock for a session, and returns whether it
// got it. The LockIndex that the key then has is a fencing token.
func (kv KV) Acquire(ctx context.Context, key string, value []byte, session string) (bool, error) {
	return kv.Apply(ctx, structs.KVLock, structs.DirEntry{Key: key, Value: value, Session: session})
}

// Release sets a key and gives its lock back, if the session has it, and
// returns whether it had.
func (kv KV) Release(ctx context.Context, key string, value []byte, session string) (bool, error) {
	return kv.Apply(ctx, structs.KVUnlock, structs.DirEntry{Key: key, Value: value, Session: session})
}

// Fenced returns calls whose writes are refused, with code Fenced, unless the
// lock on the fence's key is held under its LockIndex.
func (kv KV) Fenced(fence structs.Fence) KV { return KV{kv.c, &fence} }

// Apply runs any KV operation. The result means something for the
// compare-and-set operations, lock and unlock only.
func (kv KV) Apply(ctx context.Context, op structs.KVOp, entry structs.DirEntry) (bool, error) {
	var done bool
	request := structs.KVSRequest{Datacenter: kv.c.config.Datacenter, Op: op, DirEnt: entry, Fence: kv.fence}
	err := kv.c.Write(ctx, "KV.Apply", &request, &done)
	return done, err
}

func options(q *structs.QueryOptions) structs.QueryOptions {
	if q == nil {
		return structs.QueryOptions{}
	}
	return *q
}

// waiting is how long the server may take longer than for a plain read: the
// time asked for, or its default, and a sixteenth that it adds.
func waiting(q *structs.QueryOptions) time.Duration {
	if q == nil || q.MinQueryIndex == 0 {
		return 0
	}
	wait := q.MaxQueryTime
	if wait <= 0 {
		wait = 5 * time.Minute
	}
	return wait + wait/16
}

package structs

import (
	"encoding/json"
	"time"
)

// DirEntry is a key with its value. As a stored row it is shared by all
// readers: clone it before changing it.
type DirEntry struct {
	LockIndex uint64 // how often the lock on the key was taken; never goes back, so it is a fencing token
	Key       string
	Flags     uint64 // means what its writer wants
	Value     []byte // nil when empty
	Session   string `json:",omitempty"` // session that holds the lock on the key

	// What follows is ours: Consul looks past it, and it is written only where
	// it is not zero.

	TTL      time.Duration `codec:",omitempty" json:",omitempty"` // the key goes when it was not set for as long; 0 stays
	TTLIndex uint64        `codec:",omitempty" json:"-"`          // raft index at which TTL last began to run; in snapshots and for expire only: rows have it in KeyTTL

	// A session that was invalidated while it held the lock leaves a lock delay.
	// In a request to lock, LockDelayIndex is the leader's word that the delay
	// left at this index, or before, is over.
	LockDelay      time.Duration `codec:",omitempty" json:"-"`
	LockDelayIndex uint64        `codec:",omitempty" json:"-"` // raft index at which it was left

	RaftIndex
}

// plainEntry has the fields without the methods.
type plainEntry DirEntry

// jsonEntry shadows the TTL with one that is text in JSON.
type jsonEntry struct {
	*plainEntry
	TTL Duration `json:",omitempty"`
}

// MarshalJSON writes the TTL as text, if there is one.
func (e DirEntry) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonEntry{(*plainEntry)(&e), Duration(e.TTL)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *DirEntry) UnmarshalJSON(text []byte) error {
	in := jsonEntry{plainEntry: (*plainEntry)(e)}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	e.TTL = time.Duration(in.TTL)
	return nil
}

// Limits of a key's TTL.
const (
	MinKeyTTL = time.Second
	MaxKeyTTL = 366 * 24 * time.Hour
)

// CheckKeyTTL refuses a TTL that no key can have. 0 is none.
func CheckKeyTTL(ttl time.Duration) error {
	if ttl == 0 || ttl >= MinKeyTTL && ttl <= MaxKeyTTL {
		return nil
	}
	return Errorf(Invalid, "Invalid key TTL '%v', must be between [%v=%v]", ttl, MinKeyTTL, MaxKeyTTL)
}

// KeyTTL says since when the TTL of a key runs. It stands beside the key, so
// that to set the TTL anew touches nothing that somebody watches.
type KeyTTL struct {
	Key   string
	TTL   time.Duration
	Index uint64 // raft index at which it last began to run
}

// Fence is a condition of a write: the lock on Key is held, and LockIndex is
// still that of whoever took it.
type Fence struct {
	Key       string
	LockIndex uint64
}

// KVOp is what a KVSRequest does.
type KVOp string

// The operations of KV.Apply; lock and unlock need sessions.
const (
	KVSet        KVOp = "set"
	KVCAS        KVOp = "cas" // set, if DirEnt.ModifyIndex is still the key's
	KVDelete     KVOp = "delete"
	KVDeleteCAS  KVOp = "delete-cas"  // delete, if DirEnt.ModifyIndex is still the key's
	KVDeleteTree KVOp = "delete-tree" // delete all keys that begin with DirEnt.Key
	KVLock       KVOp = "lock"        // set, if DirEnt.Session can have the lock on the key
	KVUnlock     KVOp = "unlock"      // set and give the lock back, if DirEnt.Session holds it
	KVExpire     KVOp = "expire"      // delete, if DirEnt.TTLIndex is still the key's; for the leader alone
)

// KVSRequest changes keys. The reply is a bool, which means something for the
// compare-and-set operations only.
type KVSRequest struct {
	Datacenter string
	Op         KVOp
	DirEnt     DirEntry
	Fence      *Fence `codec:",omitempty"` // ours; nil: no condition
	WriteRequest
}

// Type makes KVSRequest a Command.
func (*KVSRequest) Type() MessageType { return KVSRequestType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *KVSRequest) RequestDatacenter() string { return r.Datacenter }

// KeyRequest reads one key, or all keys that begin with it.
type KeyRequest struct {
	Datacenter string
	Key        string
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *KeyRequest) RequestDatacenter() string { return r.Datacenter }

// KeyListRequest lists names of keys.
type KeyListRequest struct {
	Datacenter string
	Prefix     string
	Seperator  string // Consul's spelling, on the wire for ever
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *KeyListRequest) RequestDatacenter() string { return r.Datacenter }

// IndexedDirEntries is the reply to KV.Get and KV.List.
type IndexedDirEntries struct {
	Entries []*DirEntry
	QueryMeta
}

// IndexedKeyList is the reply to KV.ListKeys.
type IndexedKeyList struct {
	Keys []string
	QueryMeta
}

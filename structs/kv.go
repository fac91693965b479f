package structs

// DirEntry is a key with its value. As a stored row it is shared by all
// readers: clone it before changing it.
type DirEntry struct {
	LockIndex uint64 // how often the lock on the key was taken
	Key       string
	Flags     uint64 // means what its writer wants
	Value     []byte // nil when empty
	Session   string `json:",omitempty"` // session that holds the lock on the key
	RaftIndex
}

// KVOp is what a KVSRequest does.
type KVOp string

// The operations of KV.Apply; lock and unlock need sessions.
const (
	KVSet        KVOp = "set"
	KVCAS        KVOp = "cas"         // set, if DirEnt.ModifyIndex is still the key's
	KVDelete     KVOp = "delete"      //
	KVDeleteCAS  KVOp = "delete-cas"  // delete, if DirEnt.ModifyIndex is still the key's
	KVDeleteTree KVOp = "delete-tree" // delete all keys that begin with DirEnt.Key
	KVLock       KVOp = "lock"
	KVUnlock     KVOp = "unlock"
)

// KVSRequest changes keys. The reply is a bool, which means something for the
// compare-and-set operations only.
type KVSRequest struct {
	Datacenter string
	Op         KVOp
	DirEnt     DirEntry
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

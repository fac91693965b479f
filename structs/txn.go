package structs

import "fmt"

// The verbs about keys that only a transaction has; the others are those of
// KV.Apply.
const (
	KVGet            KVOp = "get"
	KVGetOrEmpty     KVOp = "get-or-empty"     // get, with an empty row for a key that is not there
	KVGetTree        KVOp = "get-tree"         // get all keys that begin with DirEnt.Key
	KVCheckIndex     KVOp = "check-index"      // fail unless DirEnt.ModifyIndex is still the key's
	KVCheckSession   KVOp = "check-session"    // fail unless DirEnt.Session holds the lock on the key
	KVCheckNotExists KVOp = "check-not-exists" // fail if the key is there
	KVCheckFence     KVOp = "check-fence"      // ours: fail unless the lock on the key is held under DirEnt.LockIndex
)

// TxnVerb is what a transaction does with a node, service, check or session.
type TxnVerb string

// The verbs of a transaction about the catalog. Of these, sessions have delete.
const (
	TxnGet       TxnVerb = "get"
	TxnSet       TxnVerb = "set"
	TxnCAS       TxnVerb = "cas" // set, if ModifyIndex is still the row's
	TxnDelete    TxnVerb = "delete"
	TxnDeleteCAS TxnVerb = "delete-cas" // delete, if ModifyIndex is still the row's
)

// TxnOp is one operation of a transaction: exactly one of its fields is set.
// One with none is passed over.
type TxnOp struct {
	KV        *TxnKVOp
	Node      *TxnNodeOp
	Service   *TxnServiceOp
	Check     *TxnCheckOp
	Session   *TxnSessionOp
	Intention *TxnIntentionOp
}

// TxnKVOp is an operation on a key. Which fields of DirEnt count depends on the
// verb; set, cas and lock take a TTL.
type TxnKVOp struct {
	Verb   KVOp
	DirEnt DirEntry
}

// TxnNodeOp is an operation on a node. It is known by its name; get finds it by
// its ID if that is given.
type TxnNodeOp struct {
	Verb TxnVerb
	Node Node
}

// TxnServiceOp is an operation on an instance of a service.
type TxnServiceOp struct {
	Verb    TxnVerb
	Node    string // name of the node that it is on
	Service NodeService
}

// TxnCheckOp is an operation on a check.
type TxnCheckOp struct {
	Verb  TxnVerb
	Check HealthCheck
}

// TxnSessionOp is an operation on a session.
type TxnSessionOp struct {
	Verb    TxnVerb
	Session Session
}

// TxnIntentionOp belongs to Consul's mesh; it is known in order to be refused.
type TxnIntentionOp struct{}

// Kinds counts the fields that are set.
func (o *TxnOp) Kinds() int {
	n := 0
	for _, set := range [...]bool{o.KV != nil, o.Node != nil, o.Service != nil, o.Check != nil, o.Session != nil, o.Intention != nil} {
		if set {
			n++
		}
	}
	return n
}

// Writes reports whether the operation may change something. A verb that nobody
// knows changes nothing.
func (o *TxnOp) Writes() bool {
	switch {
	case o.KV != nil:
		switch o.KV.Verb {
		case KVSet, KVCAS, KVDelete, KVDeleteCAS, KVDeleteTree, KVLock, KVUnlock:
			return true
		}
	case o.Node != nil:
		return o.Node.Verb.writes()
	case o.Service != nil:
		return o.Service.Verb.writes()
	case o.Check != nil:
		return o.Check.Verb.writes()
	case o.Session != nil:
		return o.Session.Verb == TxnDelete
	}
	return false
}

func (v TxnVerb) writes() bool {
	return v == TxnSet || v == TxnCAS || v == TxnDelete || v == TxnDeleteCAS
}

// TxnRequest does all its operations, one after another, or none of them. The
// reply is a TxnResponse.
type TxnRequest struct {
	Datacenter string
	Ops        []TxnOp
	WriteRequest
}

// Type makes TxnRequest a Command.
func (*TxnRequest) Type() MessageType { return TxnRequestType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *TxnRequest) RequestDatacenter() string { return r.Datacenter }

// TxnReadRequest is a transaction that changes nothing. It does not wait.
type TxnReadRequest struct {
	Datacenter string
	Ops        []TxnOp
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *TxnReadRequest) RequestDatacenter() string { return r.Datacenter }

// TxnResult is a row that an operation wrote, read or checked.
type TxnResult struct {
	KV      *DirEntry    `json:",omitempty"`
	Node    *Node        `json:",omitempty"`
	Service *NodeService `json:",omitempty"`
	Check   *HealthCheck `json:",omitempty"`
}

// TxnError says why an operation failed.
type TxnError struct {
	OpIndex int // of the operation, from 0
	What    string
}

// Error names the operation.
func (e TxnError) Error() string { return fmt.Sprintf("op %d: %s", e.OpIndex, e.What) }

// TxnResponse is what became of a transaction: the rows, or all that was wrong
// with it. Where there are Errors there are no Results, and nothing was done.
type TxnResponse struct {
	Results []TxnResult
	Errors  []TxnError
}

// TxnReadResponse is the reply to Txn.Read.
type TxnReadResponse struct {
	TxnResponse
	QueryMeta
}

// What may be wrong with an operation whatever the state is.
var (
	ErrTxnReads   = Errorf(Invalid, "a transaction that only reads cannot do this: send it to Txn.Apply")
	ErrIntentions = Errorf(Unsupported, "Praetor has no service mesh, so no intentions")
)

// ErrLockDelay is what is wrong with an operation that would lock a key whose
// lock delay is not over.
func ErrLockDelay(key string) error {
	return Errorf(Conflict, "failed to lock key %q due to lock delay", key)
}

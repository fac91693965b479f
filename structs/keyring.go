package structs

// KeyringOp is what a KeyringRequest does.
type KeyringOp string

// The operations of Internal.KeyringOperation.
const (
	KeyringList    KeyringOp = "list"
	KeyringInstall KeyringOp = "install" // everybody can read what is encrypted with it
	KeyringUse     KeyringOp = "use"     // everybody encrypts with it
	KeyringRemove  KeyringOp = "remove"
)

// MaxRelayFactor is how many others may relay an answer about keys.
const MaxRelayFactor = 5

// KeyringRequest lists or changes the keys of the gossip on all of its members.
type KeyringRequest struct {
	Operation   KeyringOp
	Key         string // base64
	Datacenter  string
	Forwarded   bool
	RelayFactor uint8 // how many others relay each answer, in case one is lost
	LocalOnly   bool  // a list of this datacenter's pool alone
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *KeyringRequest) RequestDatacenter() string { return q.Datacenter }

// KeyringResponse is what the members of one gossip pool say of their keys.
type KeyringResponse struct {
	WAN         bool
	Datacenter  string
	Segment     string
	Messages    map[string]string // by node: what went wrong there
	Keys        map[string]int    // how many nodes have a key
	PrimaryKeys map[string]int    // how many nodes encrypt with a key
	NumNodes    int
	Error       string
}

// KeyringResponses is the reply to Internal.KeyringOperation.
type KeyringResponses struct {
	Responses []*KeyringResponse
	QueryMeta
}

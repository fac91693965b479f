package structs

// IndexEntry says at which raft index a table last changed.
type IndexEntry struct {
	Key   string
	Value uint64
}

// MetadataEntry is a named value that the servers keep for themselves.
type MetadataEntry struct {
	Key   string
	Value string
	RaftIndex
}

// EpochKey names the entry whose value is the cluster's epoch. One without an
// index, in a snapshot, begins at the raft index of that snapshot.
const EpochKey = "praetor-epoch"

// ClusterIDKey names the metadata entry that holds the id of the cluster.
const ClusterIDKey = "praetor-cluster-id"

// MetadataOp is what a MetadataRequest does.
type MetadataOp string

// The operations of a MetadataRequest.
const (
	MetadataUpsert MetadataOp = "upsert"
	MetadataDelete MetadataOp = "delete"
)

// MetadataRequest changes one system metadata entry.
type MetadataRequest struct {
	Datacenter string
	Op         MetadataOp
	Entry      *MetadataEntry
	WriteRequest
}

// Type makes MetadataRequest a Command.
func (*MetadataRequest) Type() MessageType { return SystemMetadataRequestType }

// Carried is a record of a Consul snapshot that Praetor does not serve. It is
// kept byte for byte and written back in its place by the next snapshot.
type Carried struct {
	Kind  MessageType
	Order uint64 // position in the stream it came from
	Data  []byte // one msgpack value
}

// LogChainKey is the system metadata entry that names the chain of the archived
// log which the state belongs to.
const LogChainKey = "praetor-log-chain"

package structs

// NodeInfo is a node with all its services and checks.
type NodeInfo struct {
	ID              string
	Node            string
	Partition       string `json:",omitempty"` // Consul Enterprise's, always ""
	PeerName        string `json:",omitempty"`
	Address         string
	TaggedAddresses map[string]string
	Meta            map[string]string
	Services        []*NodeService
	Checks          []*HealthCheck
}

// IndexedNodeDump is the reply to Internal.NodeInfo and Internal.NodeDump.
type IndexedNodeDump struct {
	Dump         []*NodeInfo
	ImportedDump []*NodeInfo // of other peers, of which Praetor has none
	QueryMeta
}

// ServiceDumpRequest reads all instances of all services.
type ServiceDumpRequest struct {
	Datacenter     string
	ServiceKind    string
	UseServiceKind bool // only services of ServiceKind
	NodesOnly      bool
	Source         QuerySource
	PeerName       string
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *ServiceDumpRequest) RequestDatacenter() string { return q.Datacenter }

// IndexedServiceDump is the reply to Internal.ServiceDump. What Consul's mesh
// adds is always nil.
type IndexedServiceDump struct {
	Nodes         []CheckServiceNode
	ImportedNodes []CheckServiceNode
	Gateways      []Opaque
	QueryMeta
}

package structs

import "strings"

// Node is a machine of the catalog. As a stored row it is shared by all
// readers: clone it before changing it.
type Node struct {
	ID              string // UUID, or "" for one that was registered without
	Node            string // its name: stored as given, found whatever the case
	Address         string
	Datacenter      string
	Partition       string            `json:",omitempty"` // Consul Enterprise's, always ""
	PeerName        string            `json:",omitempty"` // of a restored snapshot; "" is ours
	TaggedAddresses map[string]string // addresses by what they are for: lan, wan, ...
	Meta            map[string]string
	Locality        *Locality `json:",omitempty"`
	RaftIndex
}

// Locality is where a node or service runs.
type Locality struct {
	Region string `json:",omitempty"`
	Zone   string `json:",omitempty"`
}

// ServiceAddress is where a service is reached for some purpose.
type ServiceAddress struct {
	Address string
	Port    int
}

// Weights say how much traffic an instance should get in DNS SRV replies.
type Weights struct {
	Passing int
	Warning int
}

// NodeService is one instance of a service on a node; the node is known from
// where it stands. Proxy and Connect belong to Consul's mesh: they are kept for
// those who read them, and have no effect.
type NodeService struct {
	Kind                       string `json:",omitempty"`
	ID                         string // unique on its node
	Service                    string // its name
	Tags                       []string
	Address                    string                    // "" is the node's
	TaggedAddresses            map[string]ServiceAddress `json:",omitempty"`
	Meta                       map[string]string
	Port                       int    `json:",omitempty"`
	SocketPath                 string `json:",omitempty"`
	Weights                    *Weights
	EnableTagOverride          bool
	Locality                   *Locality `json:",omitempty"`
	Proxy                      ServiceProxy
	Connect                    ServiceConnect
	LocallyRegisteredAsSidecar bool `json:"-"`
	PeerName                   string
	RaftIndex
}

// ServiceNode is an instance of a service with what is said of its node: a row
// of Catalog.ServiceNodes, and of the services table.
type ServiceNode struct {
	ID                       string // the node's
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	NodeMeta                 map[string]string
	ServiceKind              string
	ServiceID                string
	ServiceName              string
	ServiceTags              []string
	ServiceAddress           string
	ServiceTaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	ServiceWeights           Weights
	ServiceMeta              map[string]string
	ServicePort              int
	ServiceSocketPath        string
	ServiceEnableTagOverride bool
	ServiceProxy             ServiceProxy
	ServiceConnect           ServiceConnect
	ServiceLocality          *Locality `json:",omitempty"`
	PeerName                 string    `json:",omitempty"`
	RaftIndex
}

// The states of a check.
const (
	HealthPassing  = "passing"
	HealthWarning  = "warning"
	HealthCritical = "critical"
	HealthAny      = "any" // in queries
)

// SerfHealth is the id of the check that the leader keeps for every member of
// the gossip.
const SerfHealth = "serfHealth"

// HealthCheck is the state of a check on a node, of the node itself or of one
// of its services. As a stored row it is shared: clone it before changing it.
type HealthCheck struct {
	Node        string
	CheckID     string // unique on its node
	Name        string
	Status      string // one of the states above
	Notes       string
	Output      string
	ServiceID   string // "" for a check of the node
	ServiceName string
	ServiceTags []string
	Type        string
	Interval    string
	Timeout     string
	ExposedPort int
	PeerName    string `json:",omitempty"`
	Definition  HealthCheckDefinition
	RaftIndex
}

// RegisterRequest puts a node, and with it a service and checks, into the
// catalog. It is a command, and a record of a snapshot.
type RegisterRequest struct {
	Datacenter      string
	ID              string // of the node
	Node            string
	Address         string
	TaggedAddresses map[string]string
	NodeMeta        map[string]string
	Service         *NodeService
	Check           *HealthCheck
	Checks          []*HealthCheck
	SkipNodeUpdate  bool // the node stays as it is if it is there
	PeerName        string
	Locality        *Locality
	WriteRequest
	RaftIndex `json:"-"`
}

// Type makes RegisterRequest a Command.
func (*RegisterRequest) Type() MessageType { return RegisterRequestType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *RegisterRequest) RequestDatacenter() string { return r.Datacenter }

// DeregisterRequest takes a service, or a check, or a whole node with all that
// is on it, out of the catalog: the first of them that it names.
type DeregisterRequest struct {
	Datacenter string
	Node       string
	ServiceID  string
	CheckID    string
	PeerName   string
	WriteRequest
}

// Type makes DeregisterRequest a Command.
func (*DeregisterRequest) Type() MessageType { return DeregisterRequestType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *DeregisterRequest) RequestDatacenter() string { return r.Datacenter }

// NodeSpecificRequest is a read about one node.
type NodeSpecificRequest struct {
	Datacenter         string
	Node               string
	PeerName           string
	MergeCentralConfig bool
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *NodeSpecificRequest) RequestDatacenter() string { return q.Datacenter }

// ServiceSpecificRequest is a read about one service.
type ServiceSpecificRequest struct {
	Datacenter         string
	PeerName           string
	SamenessGroup      string
	NodeMetaFilters    map[string]string
	ServiceName        string
	ServiceKind        string
	ServiceTag         string   // used if ServiceTags is empty
	ServiceTags        []string // an instance must have all of them
	ServiceAddress     string
	TagFilter          bool
	HealthFilterType   int32 // 0: all instances, 1: not the critical ones, 2: only the passing ones
	Source             QuerySource
	Connect            bool
	Ingress            bool
	MergeCentralConfig bool
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *ServiceSpecificRequest) RequestDatacenter() string { return q.Datacenter }

// ChecksInStateRequest is a read of all checks in one state.
type ChecksInStateRequest struct {
	Datacenter      string
	NodeMetaFilters map[string]string
	State           string
	Source          QuerySource
	PeerName        string
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *ChecksInStateRequest) RequestDatacenter() string { return q.Datacenter }

// CheckServiceNode is an instance of a service with its node and all checks
// that decide on its health: its own and the node's.
type CheckServiceNode struct {
	Node    *Node
	Service *NodeService
	Checks  []*HealthCheck
}

// NodeServices are a node and its services by id.
type NodeServices struct {
	Node     *Node
	Services map[string]*NodeService
}

// NodeServiceList are a node and its services in order of id.
type NodeServiceList struct {
	Node     *Node
	Services []*NodeService
}

// IndexedNodes is the reply to Catalog.ListNodes.
type IndexedNodes struct {
	Nodes []*Node
	QueryMeta
}

// IndexedServices is the reply to Catalog.ListServices: tags by service name.
type IndexedServices struct {
	Services map[string][]string
	QueryMeta
}

// ServiceName names a service in lists.
type ServiceName struct{ Name string }

// IndexedServiceList is the reply to Catalog.ServiceList.
type IndexedServiceList struct {
	Services []ServiceName
	QueryMeta
}

// IndexedServiceNodes is the reply to Catalog.ServiceNodes.
type IndexedServiceNodes struct {
	ServiceNodes []*ServiceNode
	QueryMeta
}

// IndexedNodeServices is the reply to Catalog.NodeServices; nil if there is no
// such node.
type IndexedNodeServices struct {
	NodeServices *NodeServices
	QueryMeta
}

// IndexedNodeServiceList is the reply to Catalog.NodeServiceList.
type IndexedNodeServiceList struct {
	NodeServices NodeServiceList
	QueryMeta
}

// IndexedHealthChecks is the reply to the reads of checks.
type IndexedHealthChecks struct {
	HealthChecks []*HealthCheck
	QueryMeta
}

// IndexedCheckServiceNodes is the reply to Health.ServiceNodes.
type IndexedCheckServiceNodes struct {
	Nodes []CheckServiceNode
	QueryMeta
}

// FoldName is a node, service or check name as it is compared and sorted:
// without regard to case.
func FoldName(name string) string { return strings.ToLower(name) }

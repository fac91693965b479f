package structs

// UsageRequest asks how much there is in the catalog.
type UsageRequest struct {
	DCSpecificRequest
	Global bool // of all datacenters, of which there is one
}

// ServiceUsage counts what is in the catalog of a datacenter.
type ServiceUsage struct {
	Nodes                    int
	Services                 int // names
	ServiceInstances         int
	ConnectServiceInstances  map[string]int // of the mesh, by kind
	BillableServiceInstances int            // of no special kind, without the servers' own
}

// IndexedUsage is the reply to Operator.Usage, by datacenter.
type IndexedUsage struct {
	Usage map[string]ServiceUsage
	QueryMeta
}

// DatacentersRequest is a read of the names of all datacenters.
type DatacentersRequest struct{ QueryOptions }

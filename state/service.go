package state

import (
	"reflect"
	"slices"

	"praetor/structs"
)

// Instance is one service on a node, as it is stored: shared by all readers.
type Instance struct {
	Node    string
	Service structs.NodeService
}

// Services are the instances of services, by node and id.
var Services = newTable("services", func(i *Instance) Key {
	return catalogKey(i.Service.PeerName, i.Node, i.Service.ID)
})

var servicesByName = Services.index("service", func(i *Instance) Key {
	return catalogKey(i.Service.PeerName, i.Service.Service)
})

// service returns an instance of ours without watching it.
func (r *Reader) service(node, id string) *Instance {
	return Services.get(r.quiet(), catalogKey("", node, id))
}

// instancesOn returns what a node runs, in order of id, without watching it.
func (r *Reader) instancesOn(node string) []*Instance {
	return slices.Collect(Services.prefix(r.quiet(), catalogKey("", node)))
}

// instancesOf returns the instances of a service, in order of node and id,
// without watching them.
func (r *Reader) instancesOf(name string) []*Instance {
	return slices.Collect(servicesByName.with(r.quiet(), catalogKey("", name)))
}

// Service returns an instance, or nil. Its index is that of its node.
func (r *Reader) Service(node, id string) *structs.NodeService {
	r.Node(node)
	if row := r.service(node, id); row != nil {
		return &row.Service
	}
	return nil
}

// NodeServices returns a node with its services in order of id, or a nil node.
// Its index is that of Node.
func (r *Reader) NodeServices(node string) (*structs.Node, []*structs.NodeService) {
	n := r.Node(node)
	if n == nil {
		r.missing = true
		return nil, nil
	}
	var services []*structs.NodeService
	for _, row := range r.instancesOn(n.Node) {
		services = append(services, &row.Service)
	}
	return n, services
}

// AllServices returns all instances with their nodes, in order of node and id.
// Its index is that of all services, and not of the nodes.
func (r *Reader) AllServices() []*structs.ServiceNode {
	r.follow(localRows + Services.name)
	return r.serviceNodes(slices.Collect(Services.prefix(r.quiet(), catalogKey(""))))
}

// ServiceNodes returns the instances of a service with their nodes, in order of
// node and id. Its index is that of the service alone; while it has no
// instance, when a service last lost its last one.
func (r *Reader) ServiceNodes(name string) []*structs.ServiceNode {
	rows := r.instancesOf(name)
	r.followService(name, len(rows) > 0, Services.name, Nodes.name)
	return r.serviceNodes(rows)
}

func (r *Reader) serviceNodes(rows []*Instance) []*structs.ServiceNode {
	var found []*structs.ServiceNode
	for _, row := range rows {
		if n := r.node(row.Node); n != nil {
			found = append(found, serviceNode(n, &row.Service))
		}
	}
	return found
}

// defaultWeights are those of a service that says nothing of them.
var defaultWeights = structs.Weights{Passing: 1, Warning: 1}

func serviceNode(n *structs.Node, s *structs.NodeService) *structs.ServiceNode {
	weights := s.Weights
	if weights == nil {
		weights = &defaultWeights
	}
	return &structs.ServiceNode{
		ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
		ServiceKind: s.Kind, ServiceID: s.ID, ServiceName: s.Service, ServiceTags: s.Tags,
		ServiceAddress: s.Address, ServiceTaggedAddresses: s.TaggedAddresses, ServiceWeights: *weights,
		ServiceMeta: s.Meta, ServicePort: s.Port, ServiceSocketPath: s.SocketPath,
		ServiceEnableTagOverride: s.EnableTagOverride, ServiceProxy: s.Proxy, ServiceConnect: s.Connect,
		ServiceLocality: s.Locality, PeerName: s.PeerName, RaftIndex: s.RaftIndex,
	}
}

// CheckServiceNodes returns the instances of a service, each with its node and
// all checks that decide on its health, the node's first. Its index is that of
// ServiceNodes.
func (r *Reader) CheckServiceNodes(name string) []structs.CheckServiceNode {
	rows := r.instancesOf(name)
	r.followService(name, len(rows) > 0, Services.name, Nodes.name, Checks.name)
	return r.checkServiceNodes(rows)
}

// AllCheckServiceNodes is CheckServiceNodes of all services, in order of node
// and id. Its index is that of the whole catalog.
func (r *Reader) AllCheckServiceNodes() []structs.CheckServiceNode {
	r.followCatalog()
	return r.checkServiceNodes(slices.Collect(Services.prefix(r.quiet(), catalogKey(""))))
}

func (r *Reader) checkServiceNodes(rows []*Instance) []structs.CheckServiceNode {
	var found []structs.CheckServiceNode
	for _, row := range rows {
		n := r.node(row.Node)
		if n == nil {
			continue
		}
		one := structs.CheckServiceNode{Node: n, Service: &row.Service}
		var own []*structs.HealthCheck
		for _, check := range r.checksOn(n.Node) {
			switch {
			case check.ServiceID == "":
				one.Checks = append(one.Checks, check)
			case structs.FoldName(check.ServiceID) == structs.FoldName(row.Service.ID):
				own = append(own, check)
			}
		}
		one.Checks = append(one.Checks, own...)
		found = append(found, one)
	}
	return found
}

// putService writes a service of a node that is there. A write that changes
// nothing wakes nobody.
func (w *Writer) putService(node string, given *structs.NodeService) error {
	n := w.node(node)
	if n == nil {
		return errNoNode
	}
	if given.PeerName != "" {
		return errOtherPeer
	}
	row := Instance{Node: n.Node, Service: *given}
	s := &row.Service
	if s.Weights == nil {
		weights := defaultWeights
		s.Weights = &weights
	}
	tidyService(s)
	s.CreateIndex, s.ModifyIndex = w.index, w.index
	before := w.service(node, s.ID)
	if before != nil {
		s.CreateIndex = before.Service.CreateIndex
		if sameService(&before.Service, s) {
			return nil
		}
	}
	Services.put(w, &row)
	w.raiseBoth(Services.name)
	w.raiseService(s)
	w.raiseNode(n.Node)
	if before != nil {
		w.instanceGone(&before.Service)
	}
	return nil
}

var (
	errNoNode    = structs.Errorf(structs.NotFound, "Missing node registration")
	errNoService = structs.Errorf(structs.NotFound, "Missing service registration")
)

// tidyService gives what is empty one form.
func tidyService(s *structs.NodeService) {
	s.TaggedAddresses, s.Meta = filled(s.TaggedAddresses), filled(s.Meta)
	if len(s.Tags) == 0 {
		s.Tags = nil
	}
}

// sameService reports whether two services differ in their indexes at most.
func sameService(a, b *structs.NodeService) bool {
	x, y := *a, *b
	x.RaftIndex, y.RaftIndex = structs.RaftIndex{}, structs.RaftIndex{}
	tidyService(&x)
	tidyService(&y)
	return reflect.DeepEqual(x, y)
}

// instanceGone notes that an instance no longer goes by this name and kind.
func (w *Writer) instanceGone(s *structs.NodeService) {
	w.raiseBoth(kindRow(s))
	if len(w.instancesOf(s.Service)) > 0 {
		w.raise(serviceRows + s.Service)
		return
	}
	w.forget(serviceRows + s.Service)
	w.raiseBoth(servicesGone)
}

// removeService removes a service with its checks, if it is there.
func (w *Writer) removeService(node, id string) {
	row := w.service(node, id)
	if row == nil {
		return
	}
	for _, check := range w.checksOn(node) {
		if structs.FoldName(check.ServiceID) == structs.FoldName(id) {
			w.removeCheck(node, check.CheckID)
		}
	}
	Services.remove(w, row)
	w.raiseBoth(Services.name)
	w.raiseNode(row.Node)
	w.instanceGone(&row.Service)
}

package rpcserver

import (
	"praetor/state"
	"praetor/structs"
)

func catalogDatacenters(s *Server, _ *structs.DatacentersRequest, reply *[]string) error {
	*reply = []string{s.config.Datacenter}
	return nil
}

// oursOnly refuses to read of other peers.
func oursOnly(peer string) error {
	if peer != "" {
		return structs.Errorf(structs.Unsupported, "Praetor has no cluster peering")
	}
	return nil
}

var errNoMesh = structs.Errorf(structs.Unsupported, "Praetor has no service mesh: no Connect, no gateways, no intentions and no configuration entries")

// unchanged reports whether a reply may say that nothing has changed instead of
// what there is.
func unchanged(r *state.Reader, q *structs.QueryOptions) bool {
	return q.AllowNotModifiedResponse && q.MinQueryIndex > 0 && r.Index() == q.MinQueryIndex
}

func catalogListNodes(r *state.Reader, q *structs.DCSpecificRequest, reply *structs.IndexedNodes) (err error) {
	if err := oursOnly(q.PeerName); err != nil {
		return err
	}
	nodes := r.Nodes()
	if reply.NotModified = unchanged(r, &q.QueryOptions); reply.NotModified {
		return nil
	}
	matches := r.MetaFilter(q.NodeMetaFilters)
	nodes = keep(nodes, func(n *structs.Node) bool { return matches(n.Node) })
	if reply.Nodes, err = filterRows(q.Filter, nodes); err != nil {
		return err
	}
	sortNear(r, q.Source, reply.Nodes, func(n *structs.Node) string { return n.Node })
	return nil
}

// allServices reads the instances that Catalog.ListServices and ServiceList
// speak of. A filter looks at their nodes too, which may then wake the reader.
func allServices(r *state.Reader, q *structs.DCSpecificRequest) ([]*structs.ServiceNode, error) {
	if err := oursOnly(q.PeerName); err != nil {
		return nil, err
	}
	rows := r.AllServices()
	matches := r.MetaFilter(q.NodeMetaFilters)
	if q.Filter != "" {
		r.Nodes()
	}
	rows = keep(rows, func(s *structs.ServiceNode) bool { return matches(s.Node) })
	return filterRows(q.Filter, rows)
}

func catalogListServices(r *state.Reader, q *structs.DCSpecificRequest, reply *structs.IndexedServices) error {
	rows, err := allServices(r, q)
	if err != nil {
		return err
	}
	if reply.NotModified = unchanged(r, &q.QueryOptions); reply.NotModified {
		return nil
	}
	reply.Services = map[string][]string{}
	seen := map[[2]string]bool{}
	for _, s := range rows {
		tags := reply.Services[s.ServiceName]
		if tags == nil {
			tags = []string{}
		}
		for _, tag := range s.ServiceTags {
			if id := [2]string{s.ServiceName, tag}; !seen[id] {
				seen[id] = true
				tags = append(tags, tag)
			}
		}
		reply.Services[s.ServiceName] = tags
	}
	return nil
}

func catalogServiceList(r *state.Reader, q *structs.DCSpecificRequest, reply *structs.IndexedServiceList) error {
	rows, err := allServices(r, q)
	if err != nil {
		return err
	}
	if reply.NotModified = unchanged(r, &q.QueryOptions); reply.NotModified {
		return nil
	}
	seen := map[string]bool{}
	for _, s := range rows {
		if !seen[s.ServiceName] {
			seen[s.ServiceName] = true
			reply.Services = append(reply.Services, structs.ServiceName{Name: s.ServiceName})
		}
	}
	return nil
}

func catalogServiceNodes(r *state.Reader, q *structs.ServiceSpecificRequest, reply *structs.IndexedServiceNodes) (err error) {
	if err := checkServiceRequest(q); err != nil {
		return err
	}
	var rows []*structs.ServiceNode
	switch {
	case q.ServiceName != "":
		rows = r.ServiceNodes(q.ServiceName)
	case q.ServiceAddress != "":
		rows = r.AllServices()
		r.Nodes()
	default:
		return structs.Errorf(structs.Invalid, "Must provide service name")
	}
	if q.ServiceAddress != "" {
		rows = keep(rows, func(s *structs.ServiceNode) bool {
			return s.ServiceAddress == q.ServiceAddress || s.ServiceAddress == "" && s.Address == q.ServiceAddress
		})
	}
	matches, tags := r.MetaFilter(q.NodeMetaFilters), wantedTags(q)
	rows = keep(rows, func(s *structs.ServiceNode) bool {
		return matches(s.Node) && hasTags(s.ServiceTags, tags)
	})
	if reply.ServiceNodes, err = filterRows(q.Filter, rows); err != nil {
		return err
	}
	sortNear(r, q.Source, reply.ServiceNodes, func(s *structs.ServiceNode) string { return s.Node })
	return nil
}

// checkServiceRequest refuses what only Consul's mesh has.
func checkServiceRequest(q *structs.ServiceSpecificRequest) error {
	if q.Connect || q.Ingress || q.SamenessGroup != "" {
		return errNoMesh
	}
	return oursOnly(q.PeerName)
}

// wantedTags are the tags that an instance must have, all of them.
func wantedTags(q *structs.ServiceSpecificRequest) []string {
	switch {
	case !q.TagFilter:
		return nil
	case len(q.ServiceTags) == 0:
		return []string{q.ServiceTag}
	}
	return q.ServiceTags
}

// hasTags compares without regard to case.
func hasTags(tags, wanted []string) bool {
	for _, want := range wanted {
		found := false
		for _, tag := range tags {
			found = found || structs.FoldName(tag) == structs.FoldName(want)
		}
		if !found {
			return false
		}
	}
	return true
}

// nodeServices reads a node by name or, if there is none, by id.
func nodeServices(r *state.Reader, q *structs.NodeSpecificRequest) (*structs.Node, []*structs.NodeService, error) {
	if q.Node == "" {
		return nil, nil, structs.Errorf(structs.Invalid, "Must provide node")
	}
	if err := oursOnly(q.PeerName); err != nil {
		return nil, nil, err
	}
	node, services := r.NodeServices(q.Node)
	if node == nil && len(q.Node) == uuidLength {
		if n := r.NodeWithID(q.Node); n != nil {
			node, services = r.NodeServices(n.Node)
		}
	}
	if node == nil {
		return nil, nil, nil
	}
	services, err := filterRows(q.Filter, services)
	return node, services, err
}

func catalogNodeServices(r *state.Reader, q *structs.NodeSpecificRequest, reply *structs.IndexedNodeServices) error {
	node, services, err := nodeServices(r, q)
	if err != nil || node == nil {
		return err
	}
	reply.NodeServices = &structs.NodeServices{Node: node, Services: map[string]*structs.NodeService{}}
	for _, s := range services {
		reply.NodeServices.Services[s.ID] = s
	}
	return nil
}

func catalogNodeServiceList(r *state.Reader, q *structs.NodeSpecificRequest, reply *structs.IndexedNodeServiceList) error {
	node, services, err := nodeServices(r, q)
	reply.NodeServices = structs.NodeServiceList{Node: node, Services: services}
	return err
}

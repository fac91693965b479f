package rpcserver

import (
	"math/rand/v2"
	"slices"
	"strings"

	"praetor/state"
	"praetor/structs"
)

// preparedQueryExecute finds the instances that a query asks for.
func preparedQueryExecute(s *Server, r *state.Reader, q *structs.PreparedQueryExecuteRequest, reply *structs.PreparedQueryExecuteResponse) error {
	query, err := resolveQuery(r, q)
	if err != nil {
		return err
	}
	if q.Connect {
		return errNoConnect
	}
	if err := s.execute(r, query, reply); err != nil {
		return err
	}
	sortNear(r, s.nearWhom(r, query, q), reply.Nodes, func(n structs.CheckServiceNode) string { return n.Node.Node })
	cutTo(reply, q.Limit)
	return nil
}

// preparedQueryExecuteRemote does so for a query that another datacenter has.
func preparedQueryExecuteRemote(s *Server, r *state.Reader, q *structs.PreparedQueryExecuteRemoteRequest, reply *structs.PreparedQueryExecuteResponse) error {
	if q.Connect {
		return errNoConnect
	}
	if err := s.execute(r, &q.Query, reply); err != nil {
		return err
	}
	cutTo(reply, q.Limit)
	return nil
}

func cutTo(reply *structs.PreparedQueryExecuteResponse, limit int) {
	if limit > 0 && len(reply.Nodes) > limit {
		reply.Nodes = reply.Nodes[:limit]
	}
}

// execute finds the instances in random order, so that clients which take the
// first one spread over all. There is nowhere to fail over to: other
// datacenters that the query names are left out.
func (s *Server) execute(r *state.Reader, query *structs.PreparedQuery, reply *structs.PreparedQueryExecuteResponse) error {
	service := &query.Service
	switch {
	case service.Connect:
		return errNoConnect
	case service.Peer != "":
		return errNoPeers
	}
	reply.Service, reply.DNS, reply.Datacenter = service.Service, query.DNS, s.config.Datacenter
	reply.Nodes = []structs.CheckServiceNode{}
	for _, n := range r.CheckServiceNodes(service.Service) {
		if answers(&n, service) {
			reply.Nodes = append(reply.Nodes, n)
		}
	}
	rand.Shuffle(len(reply.Nodes), func(i, j int) { reply.Nodes[i], reply.Nodes[j] = reply.Nodes[j], reply.Nodes[i] })
	return nil
}

// answers reports whether an instance is what a query asks for.
func answers(n *structs.CheckServiceNode, q *structs.ServiceQuery) bool {
	for _, check := range n.Checks {
		bad := check.Status == structs.HealthCritical || q.OnlyPassing && check.Status != structs.HealthPassing
		if bad && !slices.Contains(q.IgnoreCheckIDs, check.CheckID) {
			return false
		}
	}
	return meetsTags(n.Service.Tags, q.Tags) && hasAll(n.Node.Meta, q.NodeMeta) && hasAll(n.Service.Meta, q.ServiceMeta)
}

// meetsTags reports whether all tags that are wanted are there, and none that is
// not. Case does not count.
func meetsTags(tags, wanted []string) bool {
	for _, tag := range wanted {
		name, unwanted := strings.CutPrefix(tag, "!")
		there := slices.ContainsFunc(tags, func(t string) bool { return structs.FoldName(t) == structs.FoldName(name) })
		if there == unwanted {
			return false
		}
	}
	return true
}

func hasAll(pairs, wanted map[string]string) bool {
	for name, value := range wanted {
		if got, ok := pairs[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// nearWhom is the node that those nearest to are wanted first, if there is one.
// What the request says goes before what the query says.
func (s *Server) nearWhom(r *state.Reader, query *structs.PreparedQuery, q *structs.PreparedQueryExecuteRequest) structs.QuerySource {
	near := q.Source
	if near.Node == "" {
		near.Node = query.Service.Near
	}
	switch near.Node {
	case "_agent":
		near.Node = q.Agent.Node
	case "_ip":
		near.Node = nodeAt(r, near.Ip)
	}
	if dc := near.Datacenter; dc != "" && dc != s.config.Datacenter {
		near.Node = ""
	}
	return near
}

// nodeAt is the name of the node that has an address, "" if none has.
func nodeAt(r *state.Reader, ip string) string {
	if ip == "" {
		return ""
	}
	for _, n := range r.Nodes() {
		if n.Address == ip {
			return n.Node
		}
	}
	return ""
}

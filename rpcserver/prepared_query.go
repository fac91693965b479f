package rpcserver

import (
	"time"

	"github.com/hashicorp/go-uuid"

	"praetor/state"
	"praetor/structs"
)

// maxPreparedQuery bounds a prepared query in bytes of msgpack.
const maxPreparedQuery = 64 << 10

var (
	errNoQuery   = structs.Errorf(structs.NotFound, "Query not found")
	errNoConnect = structs.Errorf(structs.Unsupported, "Praetor has no service mesh: a prepared query cannot ask for Connect")
	errNoPeers   = structs.Errorf(structs.Unsupported, "Praetor has no cluster peering: a prepared query cannot name a peer")
)

// preparedQueryApply checks a change of queries and gives a new one its id.
func preparedQueryApply(s *Server, c *structs.PreparedQueryRequest) error {
	if c.Query == nil {
		return structs.Errorf(structs.Invalid, "Must provide a prepared query")
	}
	switch c.Op {
	case structs.PreparedQueryDelete:
		c.Query = &structs.PreparedQuery{ID: c.Query.ID}
		return nil
	case structs.PreparedQueryCreate:
		if c.Query.ID != "" {
			return structs.Errorf(structs.Invalid, "ID must be empty when creating a new prepared query")
		}
		var err error
		if c.Query.ID, err = uuid.GenerateUUID(); err != nil {
			return err
		}
	case structs.PreparedQueryUpdate:
	default:
		return structs.Errorf(structs.Invalid, "Unknown prepared query operation: %s", c.Op)
	}
	encoded, err := structs.AppendValue(nil, c.Query)
	if err != nil {
		return err
	}
	if len(encoded) > maxPreparedQuery {
		return structs.Errorf(structs.TooLarge, "the prepared query is too large (%d > %d bytes)", len(encoded), maxPreparedQuery)
	}
	if err := checkQuery(c.Query); err != nil {
		return structs.Errorf(structs.CodeOf(err), "Invalid prepared query: %v", err)
	}
	return nil
}

// checkQuery refuses a query that could not be executed.
func checkQuery(q *structs.PreparedQuery) error {
	invalid := func(format string, args ...any) error { return structs.Errorf(structs.Invalid, format, args...) }
	service, failover := &q.Service, &q.Service.Failover
	if err := checkNames("name", q.Name, "service name", service.Service, "session", q.Session); err != nil {
		return err
	}
	if q.IsTemplate() {
		if err := q.CheckTemplate(); err != nil {
			return err
		}
	} else if q.Name == "" && q.Session == "" {
		return invalid("Must be bound to a session")
	}
	switch {
	case service.Service == "":
		return invalid("Must provide a Service name to query")
	case service.Connect:
		return errNoConnect
	case service.SamenessGroup != "":
		return structs.Errorf(structs.Unsupported, "Sameness groups are a Consul Enterprise feature")
	case service.Peer != "":
		return errNoPeers
	case failover.NearestN < 0:
		return invalid("Bad NearestN '%d', must be >= 0", failover.NearestN)
	case len(failover.Targets) > 0 && (failover.NearestN > 0 || len(failover.Datacenters) > 0):
		return invalid("Targets cannot be populated with NearestN or Datacenters")
	}
	if err := checkMeta("Invalid NodeMeta filters", service.NodeMeta); err != nil {
		return err
	}
	for _, target := range failover.Targets {
		if target.Peer != "" {
			return errNoPeers
		}
	}
	if q.DNS.TTL != "" {
		ttl, err := time.ParseDuration(q.DNS.TTL)
		if err != nil {
			return invalid("Bad DNS TTL '%s': %v", q.DNS.TTL, err)
		}
		if ttl < 0 {
			return invalid("DNS TTL '%s', must be >=0", q.DNS.TTL)
		}
	}
	return nil
}

func preparedQueryGet(r *state.Reader, q *structs.PreparedQuerySpecificRequest, reply *structs.IndexedPreparedQueries) error {
	if len(q.QueryID) != 36 {
		return structs.Errorf(structs.Invalid, "failed prepared query lookup: index error: UUID must be 36 characters")
	}
	found := r.PreparedQuery(q.QueryID)
	if found == nil {
		return errNoQuery
	}
	reply.Queries = []*structs.PreparedQuery{found}
	return nil
}

func preparedQueryList(r *state.Reader, _ *structs.DCSpecificRequest, reply *structs.IndexedPreparedQueries) error {
	reply.Queries = r.PreparedQueries()
	return nil
}

// preparedQueryExplain answers with the query as it would be executed.
func preparedQueryExplain(_ *Server, r *state.Reader, q *structs.PreparedQueryExecuteRequest, reply *structs.PreparedQueryExplainResponse) error {
	query, err := resolveQuery(r, q)
	if err != nil {
		return err
	}
	reply.Query = *query
	return nil
}

// resolveQuery finds the query that a request means, filled in if it is a
// template.
func resolveQuery(r *state.Reader, q *structs.PreparedQueryExecuteRequest) (*structs.PreparedQuery, error) {
	if q.QueryIDOrName == "" {
		return nil, errNoQuery
	}
	found := r.FindPreparedQuery(q.QueryIDOrName)
	switch {
	case found == nil:
		return nil, errNoQuery
	case !found.IsTemplate():
		return found, nil
	case structs.FoldName(found.ID) == structs.FoldName(q.QueryIDOrName):
		return nil, structs.Errorf(structs.Invalid, "prepared query templates can only be resolved up by name, not by ID")
	}
	return found.Fill(q.QueryIDOrName, q.Source.Segment)
}

package rpcserver

import (
	"praetor/state"
	"praetor/structs"
)

func healthNodeChecks(r *state.Reader, q *structs.NodeSpecificRequest, reply *structs.IndexedHealthChecks) (err error) {
	if err := oursOnly(q.PeerName); err != nil {
		return err
	}
	reply.HealthChecks, err = filterRows(q.Filter, r.NodeChecks(q.Node))
	return err
}

func healthServiceChecks(r *state.Reader, q *structs.ServiceSpecificRequest, reply *structs.IndexedHealthChecks) error {
	if q.TagFilter {
		return structs.Errorf(structs.Invalid, "Tag filtering is not supported")
	}
	if err := checkServiceRequest(q); err != nil {
		return err
	}
	return healthChecks(r, r.ServiceChecks(q.ServiceName), q.NodeMetaFilters, q.Filter, q.Source, reply)
}

func healthChecksInState(r *state.Reader, q *structs.ChecksInStateRequest, reply *structs.IndexedHealthChecks) error {
	if err := oursOnly(q.PeerName); err != nil {
		return err
	}
	return healthChecks(r, r.ChecksInState(q.State), q.NodeMetaFilters, q.Filter, q.Source, reply)
}

func healthChecks(r *state.Reader, checks []*structs.HealthCheck, meta map[string]string, filter string, near structs.QuerySource, reply *structs.IndexedHealthChecks) (err error) {
	matches := r.MetaFilter(meta)
	checks = keep(checks, func(c *structs.HealthCheck) bool { return matches(c.Node) })
	if reply.HealthChecks, err = filterRows(filter, checks); err != nil {
		return err
	}
	sortNear(r, near, reply.HealthChecks, func(c *structs.HealthCheck) string { return c.Node })
	return nil
}

func healthServiceNodes(r *state.Reader, q *structs.ServiceSpecificRequest, reply *structs.IndexedCheckServiceNodes) (err error) {
	if q.ServiceName == "" {
		return structs.Errorf(structs.Invalid, "Must provide service name")
	}
	if err := checkServiceRequest(q); err != nil {
		return err
	}
	rows := r.CheckServiceNodes(q.ServiceName)
	matches, tags := r.MetaFilter(q.NodeMetaFilters), wantedTags(q)
	rows = keep(rows, func(row structs.CheckServiceNode) bool {
		return matches(row.Node.Node) && hasTags(row.Service.Tags, tags) && healthyEnough(row.Checks, q.HealthFilterType)
	})
	if reply.Nodes, err = filterRows(q.Filter, rows); err != nil {
		return err
	}
	sortNear(r, q.Source, reply.Nodes, func(row structs.CheckServiceNode) string { return row.Node.Node })
	return nil
}

// The values of HealthFilterType.
const (
	notCritical = 1
	onlyPassing = 2
)

// healthyEnough reports whether an instance with these checks is asked for.
func healthyEnough(checks []*structs.HealthCheck, kind int32) bool {
	for _, c := range checks {
		if kind == onlyPassing && c.Status != structs.HealthPassing || kind == notCritical && c.Status == structs.HealthCritical {
			return false
		}
	}
	return true
}

package agent

import "praetor/structs"

// Rows of the catalog are shared by all readers, and some of them have nil where
// Consul's JSON has an empty list: what is changed here are copies.

func jsonService(s *structs.NodeService) *structs.NodeService {
	row := *s
	if row.Tags == nil {
		row.Tags = []string{}
	}
	if row.Weights == nil {
		row.Weights = &structs.Weights{Passing: 1, Warning: 1}
	}
	return &row
}

func jsonServices(list []*structs.NodeService) []*structs.NodeService {
	out := make([]*structs.NodeService, len(list))
	for i, s := range list {
		out[i] = jsonService(s)
	}
	return out
}

func jsonServiceNodes(list []*structs.ServiceNode) []*structs.ServiceNode {
	out := make([]*structs.ServiceNode, len(list))
	for i, s := range list {
		row := *s
		if row.ServiceTags == nil {
			row.ServiceTags = []string{}
		}
		out[i] = &row
	}
	return out
}

func jsonChecks(list []*structs.HealthCheck) []*structs.HealthCheck {
	out := make([]*structs.HealthCheck, len(list))
	for i, c := range list {
		row := *c
		if row.ServiceTags == nil {
			row.ServiceTags = []string{}
		}
		out[i] = &row
	}
	return out
}

func jsonCheckServiceNodes(list []structs.CheckServiceNode) []structs.CheckServiceNode {
	out := make([]structs.CheckServiceNode, len(list))
	for i, row := range list {
		out[i] = structs.CheckServiceNode{Node: row.Node, Service: jsonService(row.Service), Checks: jsonChecks(row.Checks)}
	}
	return out
}

// notNil is the list, or an empty one: nil would be null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

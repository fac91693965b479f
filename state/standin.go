package state

import "praetor/structs"

// Node stands in for the catalog's.
func (r *Reader) Node(name string) *structs.Node { return &structs.Node{Node: name} }

// Check stands in for the catalog's.
func (r *Reader) Check(node, id string) *structs.HealthCheck {
	return &structs.HealthCheck{Node: node, CheckID: id, Status: structs.HealthPassing}
}

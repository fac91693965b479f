package state

import (
	"maps"
	"slices"

	"praetor/structs"
)

// RestoreRegistration stores what a record of a snapshot says of a node, a
// service and checks, indexes and all. A node of a Consul so old that it has no
// index gets that of the snapshot.
func RestoreRegistration(w *Writer, c *structs.RegisterRequest, lastIndex uint64) error {
	n := nodeOf(c)
	if n.CreateIndex == 0 {
		n.CreateIndex, n.ModifyIndex = lastIndex, lastIndex
	}
	w.insert(Nodes.name, n)
	if c.Service != nil {
		if c.Service.PeerName != c.PeerName {
			return structs.Errorf(structs.Corrupt, "service %s of node %s is of another peer than its node", c.Service.ID, c.Node)
		}
		w.insert(Services.name, &Instance{Node: c.Node, Service: *c.Service})
	}
	checks := c.Checks
	if c.Check != nil {
		checks = append([]*structs.HealthCheck{c.Check}, checks...)
	}
	for _, check := range checks {
		if check == nil || check.PeerName != c.PeerName || structs.FoldName(check.Node) != structs.FoldName(c.Node) {
			return structs.Errorf(structs.Corrupt, "a check of node %s is empty or belongs to another node", c.Node)
		}
		w.insert(Checks.name, check)
	}
	return nil
}

// CompleteIndexes adds the index rows that a restored snapshot does not have:
// those of a Consul older than 1.13 have no rows by peer.
func CompleteIndexes(w *Writer) {
	for _, name := range slices.Sorted(maps.Keys(w.restored)) {
		if w.tableIndex(name) == 0 {
			w.insert(Indexes.name, newIndexEntry(name, w.restored[name]))
		}
	}
	missing := map[string]uint64{}
	note := func(index uint64, rows ...string) {
		for _, row := range rows {
			if w.tableIndex(structs.FoldName(row)) == 0 {
				missing[structs.FoldName(row)] = max(missing[structs.FoldName(row)], index)
			}
		}
	}
	r := w.quiet()
	for _, n := range r.nodes() {
		note(max(n.ModifyIndex, w.tableIndex(Nodes.name)), Nodes.name, localRows+Nodes.name)
		note(n.ModifyIndex, nodeRows+n.Node)
		checks := r.checksOn(n.Node)
		for _, check := range checks {
			note(max(check.ModifyIndex, w.tableIndex(Checks.name)), Checks.name, localRows+Checks.name)
		}
		for _, row := range r.instancesOn(n.Node) {
			s := &row.Service
			note(max(s.ModifyIndex, w.tableIndex(Services.name)), Services.name, localRows+Services.name)
			note(s.ModifyIndex, nodeRows+n.Node)
			index := max(n.ModifyIndex, s.ModifyIndex)
			for _, check := range checks {
				if check.ServiceID == "" || structs.FoldName(check.ServiceID) == structs.FoldName(s.ID) {
					index = max(index, check.ModifyIndex)
				}
			}
			note(index, serviceRows+s.Service, kindRow(s), localRows+kindRow(s))
		}
	}
	names := make([]string, 0, len(missing))
	for name := range missing {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.insert(Indexes.name, newIndexEntry(name, missing[name]))
	}
}

// Registrations yields the catalog as records of a snapshot, in Consul's order:
// node by node, each alone, then with each of its services, then with each of
// its checks.
func Registrations(r *Reader, yield func(*structs.RegisterRequest) error) error {
	r = r.quiet()
	for n := range Nodes.All(r) {
		record := func() *structs.RegisterRequest {
			return &structs.RegisterRequest{
				Datacenter: n.Datacenter, ID: n.ID, Node: n.Node, Address: n.Address, PeerName: n.PeerName,
				TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta, Locality: n.Locality, RaftIndex: n.RaftIndex,
			}
		}
		if err := yield(record()); err != nil {
			return err
		}
		for row := range Services.prefix(r, catalogKey(n.PeerName, n.Node)) {
			c := record()
			c.Service = &row.Service
			if err := yield(c); err != nil {
				return err
			}
		}
		for check := range Checks.prefix(r, catalogKey(n.PeerName, n.Node)) {
			c := record()
			c.Check = check
			if err := yield(c); err != nil {
				return err
			}
		}
	}
	return nil
}

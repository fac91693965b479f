package state

import (
	"reflect"

	"praetor/structs"
)

// Nodes are the machines of the catalog, those of other peers first.
var Nodes = newTable("nodes", func(n *structs.Node) Key { return catalogKey(n.PeerName, n.Node) })

var nodesByID = Nodes.index("uuid", func(n *structs.Node) Key {
	if n.ID == "" {
		return nil
	}
	return catalogKey(n.PeerName, n.ID)
})

// node returns a node of ours without watching it.
func (r *Reader) node(name string) *structs.Node { return Nodes.get(r.quiet(), catalogKey("", name)) }

// nodeWithID returns the node of ours that has an id, without watching it.
func (r *Reader) nodeWithID(id string) *structs.Node {
	for n := range nodesByID.with(r.quiet(), catalogKey("", id)) {
		return n
	}
	return nil
}

// Node returns a node, or nil. Its index is that of the node with its services;
// while there is none, when a node was last removed.
func (r *Reader) Node(name string) *structs.Node {
	n := r.node(name)
	r.followNode(name, n != nil)
	return n
}

func (r *Reader) followNode(name string, exists bool) {
	if r.follow(nodeRows+name) == 0 && !exists {
		r.follow(localRows + nodesGone)
	}
}

// Nodes returns all nodes in order of name. Its index is that of all nodes with
// their services.
func (r *Reader) Nodes() []*structs.Node {
	r.follow(localRows + Nodes.name)
	return r.nodes()
}

func (r *Reader) nodes() (all []*structs.Node) {
	for n := range Nodes.prefix(r.quiet(), catalogKey("")) {
		all = append(all, n)
	}
	return all
}

// NodeInfos returns all nodes with all that is on them, in order of name. Its
// index is that of the whole catalog.
func (r *Reader) NodeInfos() (all []*structs.NodeInfo) {
	r.followCatalog()
	for _, n := range r.nodes() {
		all = append(all, r.nodeInfo(n))
	}
	return all
}

// NodeInfo returns a node with all that is on it, or nil. Its index is that of
// the whole catalog.
func (r *Reader) NodeInfo(name string) *structs.NodeInfo {
	r.followCatalog()
	if n := r.node(name); n != nil {
		return r.nodeInfo(n)
	}
	return nil
}

func (r *Reader) nodeInfo(n *structs.Node) *structs.NodeInfo {
	info := &structs.NodeInfo{
		ID: n.ID, Node: n.Node, PeerName: n.PeerName, Address: n.Address, TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
		Checks: r.checksOn(n.Node),
	}
	for _, row := range r.instancesOn(n.Node) {
		info.Services = append(info.Services, &row.Service)
	}
	return info
}

// MetaFilter returns whether the node of a name has all these pairs in its meta
// data. If there are any, the index of the read is that of all nodes as well.
func (r *Reader) MetaFilter(pairs map[string]string) func(node string) bool {
	if len(pairs) == 0 {
		return func(string) bool { return true }
	}
	r.follow(localRows + Nodes.name)
	return func(name string) bool {
		n := r.node(name)
		if n == nil {
			return false
		}
		for key, value := range pairs {
			if got, ok := n.Meta[key]; !ok || got != value {
				return false
			}
		}
		return true
	}
}

// NodeWithID returns the node that has an id, or nil. Its index is that of all
// nodes.
func (r *Reader) NodeWithID(id string) *structs.Node {
	r.follow(localRows + Nodes.name)
	return r.nodeWithID(id)
}

// nodeOf is the node that a registration speaks of.
func nodeOf(c *structs.RegisterRequest) *structs.Node {
	return &structs.Node{
		ID: c.ID, Node: c.Node, Address: c.Address, Datacenter: c.Datacenter, PeerName: c.PeerName,
		TaggedAddresses: c.TaggedAddresses, Meta: c.NodeMeta, Locality: c.Locality, RaftIndex: c.RaftIndex,
	}
}

// putNode writes a node. One that comes with the id of another has a new name:
// the other is removed with all that is on it. A write that changes nothing
// wakes nobody.
func (w *Writer) putNode(given *structs.Node) error {
	if given.Node == "" {
		return structs.Errorf(structs.Invalid, "Must provide node")
	}
	row := *given
	row.TaggedAddresses, row.Meta = filled(row.TaggedAddresses), filled(row.Meta)
	before := w.node(row.Node)
	if row.ID != "" {
		twin := w.nodeWithID(row.ID)
		renamed := twin != nil && structs.FoldName(twin.Node) != structs.FoldName(row.Node)
		if err := w.mayHaveName(&row, before, renamed); err != nil {
			return err
		}
		if renamed {
			w.removeNode(twin.Node)
		}
	}
	row.CreateIndex, row.ModifyIndex = w.index, w.index
	if before != nil {
		row.CreateIndex = before.CreateIndex
		if sameNode(before, &row) {
			return nil
		}
	}
	Nodes.put(w, &row)
	w.raiseNode(row.Node)
	w.raiseServicesOf(row.Node)
	return nil
}

// mayHaveName refuses a name that belongs to another id, as long as gossip
// finds the other in good health. A node without an id may be given one, but
// not by a node that had another name before.
func (w *Writer) mayHaveName(row, before *structs.Node, renamed bool) error {
	if before == nil || structs.FoldName(before.ID) == structs.FoldName(row.ID) || before.ID == "" && !renamed {
		return nil
	}
	if check := w.check(before.Node, structs.SerfHealth); check == nil || check.Status == structs.HealthCritical {
		return nil
	}
	return structs.Errorf(structs.Conflict, "Error while renaming Node ID: %q (%s): Node name %s is reserved by node %s with name %s (%s)",
		row.ID, row.Address, row.Node, before.ID, before.Node, before.Address)
}

// sameNode reports whether two nodes differ in their indexes at most.
func sameNode(a, b *structs.Node) bool {
	x, y := *a, *b
	x.RaftIndex, y.RaftIndex = structs.RaftIndex{}, structs.RaftIndex{}
	x.TaggedAddresses, y.TaggedAddresses = filled(x.TaggedAddresses), filled(y.TaggedAddresses)
	x.Meta, y.Meta = filled(x.Meta), filled(y.Meta)
	return reflect.DeepEqual(x, y)
}

// removeNode removes a node with all that is on it or depends on it, if it is there.
func (w *Writer) removeNode(name string) {
	n := w.node(name)
	if n == nil {
		return
	}
	for _, row := range w.instancesOn(n.Node) {
		w.removeService(n.Node, row.Service.ID)
	}
	for _, check := range w.checksOn(n.Node) {
		w.removeCheck(n.Node, check.CheckID)
	}
	w.loseNode(n.Node)
	Nodes.remove(w, n)
	w.raiseBoth(Nodes.name)
	w.forget(nodeRows + n.Node)
	w.raiseBoth(nodesGone)
}

// filled is a map that has something in it, or nil.
func filled[M ~map[K]V, K comparable, V any](m M) M {
	if len(m) == 0 {
		return nil
	}
	return m
}

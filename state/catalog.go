package state

import "praetor/structs"

// The catalog has its own index rows, which are Consul's (consul-wire.md 8.6),
// so that a write to one service does not wake those who watch another. Each
// read watches the rows that its index comes from, and nothing else: whatever
// changes the result raises them.
//
// Rows about the whole catalog are kept twice, plain and under the name of the
// local peer, since Consul reads the latter and sums up over the former. Rows of
// the peers of a restored Consul snapshot are kept as they came.
const (
	localPeer         = "~"
	servicesGone      = "service_last_extinction" // when a service last lost its last instance
	nodesGone         = "node_last_extinction"    // when a node was last removed
	kindOfPlain       = "typical"                 // the kind of a service that names none
	localRows         = "peer." + localPeer + ":"
	nodeRows          = localRows + "node."
	serviceRows       = localRows + "service."
	serviceKindPrefix = "service_kind."
)

// peerKey is how a peer sorts: the local one behind those with names.
func peerKey(peer string) string {
	if peer == "" {
		return localPeer
	}
	return structs.FoldName(peer)
}

// catalogKey is the key of something of a peer. Names are compared without
// regard to case.
func catalogKey(peer string, names ...string) Key {
	parts := make([]string, 1, 4)
	parts[0] = peerKey(peer)
	for _, name := range names {
		parts = append(parts, structs.FoldName(name))
	}
	return key(parts...)
}

// quiet is r without its memory: what is read through it is not watched.
func (r *Reader) quiet() *Reader { return &Reader{txn: r.txn} }

// follow sees and watches index rows. It returns the highest of them.
func (r *Reader) follow(rows ...string) (index uint64) {
	for _, name := range rows {
		if row := Indexes.get(r, key(structs.FoldName(name))); row != nil {
			index = max(index, row.Value)
		}
	}
	r.saw(index)
	return index
}

// followCatalog sees and watches everything in the catalog.
func (r *Reader) followCatalog() {
	r.follow(localRows+Nodes.name, localRows+Services.name, localRows+Checks.name)
}

// followService sees and watches one service: its own index or, while it has no
// instance, when a service was last gone. Where that never was, it is that of
// the tables.
func (r *Reader) followService(name string, exists bool, tables ...string) {
	index := r.follow(serviceRows + name)
	if exists && index > 0 {
		return
	}
	r.missing = !exists
	if r.follow(localRows+servicesGone) == 0 {
		for _, table := range tables {
			r.follow(localRows + table)
		}
	}
}

// raise notes that the command at work changed what index rows stand for.
func (w *Writer) raise(rows ...string) {
	for _, name := range rows {
		row := newIndexEntry(name, w.index)
		if before := Indexes.get(&w.Reader, key(row.Key)); before == nil || before.Value != w.index {
			Indexes.put(w, row)
		}
	}
}

// raiseBoth raises a row about the whole catalog.
func (w *Writer) raiseBoth(row string) { w.raise(row, localRows+row) }

// forget removes an index row, if it is there.
func (w *Writer) forget(name string) {
	if row := Indexes.get(&w.Reader, key(structs.FoldName(name))); row != nil {
		Indexes.remove(w, row)
	}
}

// raiseNode raises what contains a node with its services.
func (w *Writer) raiseNode(name string) {
	w.raiseBoth(Nodes.name)
	w.raise(nodeRows + name)
}

// raiseService raises what contains an instance with its node and checks.
func (w *Writer) raiseService(s *structs.NodeService) {
	w.raise(serviceRows + s.Service)
	w.raiseBoth(kindRow(s))
}

// raiseServicesOf raises all services that a node has.
func (w *Writer) raiseServicesOf(node string) {
	for row := range Services.prefix(&w.Reader, catalogKey("", node)) {
		w.raiseService(&row.Service)
	}
}

func kindRow(s *structs.NodeService) string {
	if s.Kind == "" {
		return serviceKindPrefix + kindOfPlain
	}
	return serviceKindPrefix + s.Kind
}

var errOtherPeer = structs.Errorf(structs.Invalid, "cannot register requests with PeerName in them")

// ApplyRegister puts a node, a service and checks into the catalog: all that
// the request has, or nothing.
func (w *Writer) ApplyRegister(c *structs.RegisterRequest) (struct{}, error) {
	var done struct{}
	if c.PeerName != "" {
		return done, errOtherPeer
	}
	if existing := w.node(c.Node); existing == nil || !c.SkipNodeUpdate {
		if err := w.putNode(nodeOf(c)); err != nil {
			return done, structs.Errorf(structs.CodeOf(err), "failed inserting node: %v", err)
		}
	}
	if c.Service != nil {
		if err := w.putService(c.Node, c.Service); err != nil {
			return done, err
		}
	}
	checks := c.Checks
	if c.Check != nil {
		checks = append([]*structs.HealthCheck{c.Check}, checks...)
	}
	for _, check := range checks {
		if check == nil {
			return done, structs.Errorf(structs.Invalid, "one of the checks is empty")
		}
		if structs.FoldName(check.Node) != structs.FoldName(c.Node) {
			return done, structs.Errorf(structs.Invalid, "Node '%s' for check '%s' doesn't match register request node '%s'", check.Node, check.CheckID, c.Node)
		}
		if check.ServiceID != "" && w.service(c.Node, check.ServiceID) == nil {
			return done, structs.Errorf(structs.NotFound, "Unknown service ID '%s' for check ID '%s'", check.ServiceID, check.CheckID)
		}
		if err := w.putCheck(check); err != nil {
			return done, err
		}
	}
	return done, nil
}

// ApplyDeregister takes a service, a check or a node out of the catalog. What
// is not there is no error.
func (w *Writer) ApplyDeregister(c *structs.DeregisterRequest) (struct{}, error) {
	switch {
	case c.PeerName != "":
		return struct{}{}, errOtherPeer
	case c.ServiceID != "":
		w.removeService(c.Node, c.ServiceID)
	case c.CheckID != "":
		w.removeCheck(c.Node, c.CheckID)
	default:
		w.removeNode(c.Node)
	}
	return struct{}{}, nil
}

package state

import (
	"fmt"

	"praetor/structs"
)

// catalogOp is an operation of a transaction on a row of the catalog, whatever
// kind of row it is.
type catalogOp struct {
	kind   string // of the operation
	name   string // of the row, as errors call it
	verb   structs.TxnVerb
	given  uint64 // ModifyIndex that it compares with
	find   func(*Reader) (row structs.TxnResult, index uint64, exists bool)
	put    func(*Writer) error
	remove func(*Writer) // the row is there
}

// catalogOpOf returns nil for an operation of another kind.
func catalogOpOf(op *structs.TxnOp) *catalogOp {
	switch {
	case op.Node != nil:
		return nodeOp(op.Node)
	case op.Service != nil:
		return serviceOp(op.Service)
	case op.Check != nil:
		return checkOp(op.Check)
	}
	return nil
}

// nodeOp reads a node by its id if that is given, as Consul does; what is
// written is known by its name.
func nodeOp(op *structs.TxnNodeOp) *catalogOp {
	given := &op.Node
	find := func(r *Reader) *structs.Node {
		if op.Verb != structs.TxnGet || given.ID == "" {
			return r.Node(given.Node)
		}
		if n := r.nodeWithID(given.ID); n != nil {
			return r.Node(n.Node)
		}
		r.Nodes() // one that comes would be among them
		return nil
	}
	return &catalogOp{
		kind: "Node", name: fmt.Sprintf("node %q", given.Node), verb: op.Verb, given: given.ModifyIndex,
		find: func(r *Reader) (structs.TxnResult, uint64, bool) {
			n := find(r)
			if n == nil {
				return structs.TxnResult{}, 0, false
			}
			row := *n
			return structs.TxnResult{Node: &row}, row.ModifyIndex, true
		},
		put:    func(w *Writer) error { return w.putNode(given) },
		remove: func(w *Writer) { w.removeNode(given.Node) },
	}
}

func serviceOp(op *structs.TxnServiceOp) *catalogOp {
	given := &op.Service
	return &catalogOp{
		kind: "Service", name: fmt.Sprintf("service %q on node %q", given.ID, op.Node), verb: op.Verb, given: given.ModifyIndex,
		find: func(r *Reader) (structs.TxnResult, uint64, bool) {
			s := r.Service(op.Node, given.ID)
			if s == nil {
				return structs.TxnResult{}, 0, false
			}
			row := *s
			return structs.TxnResult{Service: &row}, row.ModifyIndex, true
		},
		put:    func(w *Writer) error { return w.putService(op.Node, given) },
		remove: func(w *Writer) { w.removeService(op.Node, given.ID) },
	}
}

func checkOp(op *structs.TxnCheckOp) *catalogOp {
	given := &op.Check
	return &catalogOp{
		kind: "Check", name: fmt.Sprintf("check %q on node %q", given.CheckID, given.Node), verb: op.Verb, given: given.ModifyIndex,
		find: func(r *Reader) (structs.TxnResult, uint64, bool) {
			c := r.Check(given.Node, given.CheckID)
			if c == nil {
				return structs.TxnResult{}, 0, false
			}
			row := *c
			return structs.TxnResult{Check: &row}, row.ModifyIndex, true
		},
		put:    func(w *Writer) error { return w.putCheck(given) },
		remove: func(w *Writer) { w.removeCheck(given.Node, given.CheckID) },
	}
}

// read runs an operation that reads.
func (o *catalogOp) read(r *Reader) ([]structs.TxnResult, error) {
	if o.verb != structs.TxnGet {
		return nil, unknownVerb(o.kind, o.verb)
	}
	row, _, exists := o.find(r)
	if !exists {
		return nil, structs.Errorf(structs.NotFound, "%s doesn't exist", o.name)
	}
	return []structs.TxnResult{row}, nil
}

// write runs an operation that changes something. A cas with index 0 creates.
// To delete a row that is not there is no error, unless it had to have an index.
func (o *catalogOp) write(w *Writer) ([]structs.TxnResult, error) {
	_, index, exists := o.find(&w.Reader)
	stale := o.given != index
	switch {
	case o.verb == structs.TxnCAS && stale:
		return nil, structs.Errorf(structs.Conflict, "failed to set %s, index is stale", o.name)
	case o.verb == structs.TxnDeleteCAS && (stale || !exists):
		return nil, structs.Errorf(structs.Conflict, "failed to delete %s, index is stale", o.name)
	case o.verb == structs.TxnDelete || o.verb == structs.TxnDeleteCAS:
		if exists {
			o.remove(w)
		}
		return nil, nil
	}
	if err := o.put(w); err != nil {
		return nil, err
	}
	row, _, _ := o.find(&w.Reader)
	return []structs.TxnResult{row}, nil
}

package rpcserver

import "praetor/structs"

// What a transaction writes to the catalog is held to the rules and limits of a
// registration, and completed as one is; what it reads or deletes needs a name.

func (s *Server) prepareNodeOp(op *structs.TxnNodeOp) error {
	n := &op.Node
	switch op.Verb {
	case structs.TxnSet, structs.TxnCAS:
		c := structs.RegisterRequest{
			Datacenter: n.Datacenter, ID: n.ID, Node: n.Node, Address: n.Address, TaggedAddresses: n.TaggedAddresses,
			NodeMeta: n.Meta, PeerName: n.PeerName, Locality: n.Locality,
			SkipNodeUpdate: true, // as in Consul, a transaction may leave out the address
		}
		err := catalogRegister(s, &c)
		n.Datacenter = c.Datacenter
		return err
	case structs.TxnGet:
		if n.ID != "" {
			return nil
		}
	case structs.TxnDelete, structs.TxnDeleteCAS:
	default:
		return unknownVerb("Node", op.Verb)
	}
	return given(n.Node, "Must provide node")
}

func (s *Server) prepareServiceOp(op *structs.TxnServiceOp) error {
	switch op.Verb {
	case structs.TxnSet, structs.TxnCAS:
		return catalogRegister(s, &structs.RegisterRequest{Node: op.Node, SkipNodeUpdate: true, Service: &op.Service})
	case structs.TxnGet, structs.TxnDelete, structs.TxnDeleteCAS:
	default:
		return unknownVerb("Service", op.Verb)
	}
	if err := given(op.Node, "Must provide node"); err != nil {
		return err
	}
	if op.Service.ID == "" {
		op.Service.ID = op.Service.Service
	}
	return given(op.Service.ID, "Must provide service ID (Service.ID)")
}

func (s *Server) prepareCheckOp(op *structs.TxnCheckOp) error {
	switch op.Verb {
	case structs.TxnSet, structs.TxnCAS:
		return catalogRegister(s, &structs.RegisterRequest{Node: op.Check.Node, SkipNodeUpdate: true, Check: &op.Check})
	case structs.TxnGet, structs.TxnDelete, structs.TxnDeleteCAS:
	default:
		return unknownVerb("Check", op.Verb)
	}
	if err := given(op.Check.Node, "Must provide node"); err != nil {
		return err
	}
	if op.Check.CheckID == "" {
		op.Check.CheckID = op.Check.Name
	}
	return given(op.Check.CheckID, "Must provide check ID (Check.CheckID)")
}

func unknownVerb[V ~string](kind string, verb V) error {
	return structs.Errorf(structs.Invalid, "unknown %s operation: %s", kind, verb)
}

// given refuses an empty text.
func given(text, otherwise string) error {
	if text == "" {
		return structs.Errorf(structs.Invalid, "%s", otherwise)
	}
	return nil
}

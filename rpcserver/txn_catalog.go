package rpcserver

import "praetor/structs"

// checkVerb refuses a verb that the catalog does not have.
func checkVerb(kind string, verb structs.TxnVerb) error {
	switch verb {
	case structs.TxnGet, structs.TxnSet, structs.TxnCAS, structs.TxnDelete, structs.TxnDeleteCAS:
		return nil
	}
	return unknownVerb(kind, verb)
}

func unknownVerb[V ~string](kind string, verb V) error {
	return structs.Errorf(structs.Invalid, "unknown %s operation: %s", kind, verb)
}

// must refuses an empty text.
func must(text, otherwise string) error {
	if text == "" {
		return structs.Errorf(structs.Invalid, "%s", otherwise)
	}
	return nil
}

// sets reports whether the verb writes a row, which must then be one that
// could be registered as well.
func sets(verb structs.TxnVerb) bool { return verb == structs.TxnSet || verb == structs.TxnCAS }

func checkNodeOp(op *structs.TxnNodeOp) error {
	if err := checkVerb("Node", op.Verb); err != nil {
		return err
	}
	if op.Verb == structs.TxnGet && op.Node.ID != "" {
		return nil
	}
	return must(op.Node.Node, "Must provide node")
}

func checkServiceOp(op *structs.TxnServiceOp) error {
	if err := checkVerb("Service", op.Verb); err != nil {
		return err
	}
	if op.Service.ID == "" {
		op.Service.ID = op.Service.Service
	}
	if err := must(op.Node, "Must provide node"); err != nil {
		return err
	}
	return must(op.Service.ID, "Must provide service name (Service.Service)")
}

func checkCheckOp(op *structs.TxnCheckOp) error {
	if err := checkVerb("Check", op.Verb); err != nil {
		return err
	}
	if op.Check.CheckID == "" {
		op.Check.CheckID = op.Check.Name
	}
	if err := must(op.Check.Node, "Must provide node"); err != nil {
		return err
	}
	return must(op.Check.CheckID, "Must provide check name (Check.Name)")
}

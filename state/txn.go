package state

import "praetor/structs"

// ApplyTxn does all operations or none. Every one of them is run, so that all
// that are wrong are named; each sees what those before it have done.
func (w *Writer) ApplyTxn(c *structs.TxnRequest) (structs.TxnResponse, error) {
	reply := runTxn(c.Ops, w.txnOp)
	if len(reply.Errors) > 0 {
		w.Undo()
	}
	return reply, nil
}

// Txn runs a transaction that only reads.
func (r *Reader) Txn(ops []structs.TxnOp) structs.TxnResponse { return runTxn(ops, r.txnOp) }

// runTxn runs operations one after another and gathers what they find, or what
// is wrong with them. Operations that say nothing are passed over.
func runTxn(ops []structs.TxnOp, run func(*structs.TxnOp) ([]structs.TxnResult, error)) (reply structs.TxnResponse) {
	reply.Results = make([]structs.TxnResult, 0, len(ops))
	for i := range ops {
		if ops[i].Kinds() == 0 {
			continue
		}
		rows, err := run(&ops[i])
		if err != nil {
			reply.Errors = append(reply.Errors, structs.TxnError{OpIndex: i, What: err.Error()})
			continue
		}
		reply.Results = append(reply.Results, rows...)
	}
	if len(reply.Errors) > 0 {
		reply.Results = nil
	}
	return reply
}

// txnOp runs one operation.
func (w *Writer) txnOp(op *structs.TxnOp) ([]structs.TxnResult, error) {
	switch {
	case !op.Writes():
		return w.Reader.txnOp(op)
	case op.KV != nil:
		return w.txnKV(op.KV)
	case op.Session != nil:
		return w.txnSession(op.Session)
	}
	return catalogOpOf(op).write(w)
}

// txnOp runs one operation that reads.
func (r *Reader) txnOp(op *structs.TxnOp) ([]structs.TxnResult, error) {
	switch {
	case op.Writes():
		return nil, structs.ErrTxnReads
	case op.KV != nil:
		return r.txnKV(op.KV)
	case op.Session != nil:
		return nil, unknownVerb("Session", op.Session.Verb)
	case op.Intention != nil:
		return nil, structs.ErrIntentions
	}
	return catalogOpOf(op).read(r)
}

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

// What a transaction may find in all. Every server gathers it, and one that
// reads a large tree many times over would be the end of them all. The numbers
// are part of what a command means: they can never change.
const (
	maxTxnRows  = 1 << 20
	maxTxnBytes = 256 << 20 // of values
)

// runTxn runs operations one after another and gathers what they find, or what
// is wrong with them. Operations that say nothing are passed over.
func runTxn(ops []structs.TxnOp, run func(*structs.TxnOp) ([]structs.TxnResult, error)) structs.TxnResponse {
	results, found := make([]structs.TxnResult, 0, len(ops)), 0
	var failed []structs.TxnError
	for i := range ops {
		if ops[i].Kinds() == 0 {
			continue
		}
		rows, err := run(&ops[i])
		for _, row := range rows {
			if row.KV != nil {
				found += len(row.KV.Value)
			}
		}
		full := len(results)+len(rows) > maxTxnRows || found > maxTxnBytes
		if full {
			err = structs.Errorf(structs.TooLarge, "the transaction finds more than %d rows or %d bytes of values", maxTxnRows, maxTxnBytes)
		}
		if err != nil {
			failed = append(failed, structs.TxnError{OpIndex: i, What: err.Error()})
		}
		if full {
			break
		}
		if failed == nil {
			results = append(results, rows...)
		}
	}
	if failed != nil {
		return structs.TxnResponse{Errors: failed}
	}
	return structs.TxnResponse{Results: results}
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

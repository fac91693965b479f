package state

import "praetor/structs"

// txnSession destroys a session with all that follows from it: its locks are
// lost and leave their lock delay, as if it had been destroyed by itself.
func (w *Writer) txnSession(op *structs.TxnSessionOp) ([]structs.TxnResult, error) {
	w.destroySession(op.Session.ID)
	return nil, nil
}

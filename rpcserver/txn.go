package rpcserver

import (
	"context"
	"reflect"

	"praetor/state"
	"praetor/structs"
)

// txnApply checks a transaction before it goes into the log. Operations that
// make no sense are answered at once.
func txnApply(s *Server, c *structs.TxnRequest) error {
	wrong, err := s.prepareTxn(c.Ops, s.prepareOp)
	if err == nil && wrong != nil {
		err = &answer{structs.TxnResponse{Errors: wrong}}
	}
	return err
}

// txnRead serves Txn.Read: a read that does not wait, whatever it asks for.
func txnRead(ctx context.Context, s *Server, q *structs.TxnReadRequest, reply *structs.TxnReadResponse) error {
	q.MinQueryIndex = 0
	return s.route(ctx, call{method: "Txn.Read", request: q, reply: reply, read: &q.QueryOptions, here: func(ctx context.Context) error {
		wrong, err := s.prepareTxn(q.Ops, s.prepareReadOp)
		if err != nil {
			return err
		}
		return s.blocking(ctx, &q.QueryOptions, &reply.QueryMeta, func(r *state.Reader) error {
			if reply.TxnResponse = (structs.TxnResponse{Errors: wrong}); wrong == nil {
				reply.TxnResponse = r.Txn(q.Ops)
			}
			return nil
		})
	}})
}

// prepareTxn refuses a transaction that is over a limit, and returns what is
// wrong with the operations of any other.
func (s *Server) prepareTxn(ops []structs.TxnOp, prepare func(*state.Reader, *structs.TxnOp) error) (wrong []structs.TxnError, err error) {
	if err := s.checkTxnSize(ops); err != nil {
		return nil, err
	}
	view := s.fsm.Store().Read()
	for i := range ops {
		if err := prepare(view, &ops[i]); err != nil {
			wrong = append(wrong, structs.TxnError{OpIndex: i, What: err.Error()})
		}
	}
	return wrong, nil
}

// prepareReadOp checks an operation of a transaction that only reads.
func (s *Server) prepareReadOp(view *state.Reader, op *structs.TxnOp) error {
	if op.Kinds() == 1 && op.Writes() {
		return structs.ErrTxnReads
	}
	return s.prepareOp(view, op)
}

// prepareOp refuses an operation that makes no sense whatever the state is, and
// decides what must be decided once. One that says nothing is fine.
func (s *Server) prepareOp(view *state.Reader, op *structs.TxnOp) error {
	switch {
	case op.Intention != nil:
		return structs.ErrIntentions
	case op.Kinds() > 1:
		return structs.Errorf(structs.Invalid, "an operation is of one kind only: make one of each")
	case op.KV != nil:
		return s.prepareKVOp(view, op.KV)
	case op.Node != nil:
		return s.prepareNodeOp(op.Node)
	case op.Service != nil:
		return s.prepareServiceOp(op.Service)
	case op.Check != nil:
		return s.prepareCheckOp(op.Check)
	case op.Session != nil:
		if op.Session.Verb != structs.TxnDelete {
			return unknownVerb("Session", op.Session.Verb)
		}
		return given(op.Session.Session.ID, "Missing session ID")
	}
	return nil
}

// prepareKVOp is about keys; whether the lock delay of one is over is for the
// leader to decide.
func (s *Server) prepareKVOp(view *state.Reader, op *structs.TxnKVOp) error {
	if err := checkKVOp(op); err != nil {
		return err
	}
	entry := &op.DirEnt
	entry.TTLIndex, entry.LockDelay, entry.LockDelayIndex = 0, 0, 0
	if op.Verb == structs.KVLock {
		var over bool
		if entry.LockDelayIndex, over = s.lockDelayOver(view, entry.Key); !over {
			return structs.ErrLockDelay(entry.Key)
		}
	}
	return nil
}

func checkKVOp(op *structs.TxnKVOp) error {
	switch op.Verb {
	case structs.KVDeleteTree:
		return nil
	case structs.KVSet, structs.KVCAS, structs.KVLock, structs.KVUnlock:
		if err := structs.CheckKeyTTL(op.DirEnt.TTL); err != nil {
			return err
		}
	case structs.KVDelete, structs.KVDeleteCAS,
		structs.KVGet, structs.KVGetOrEmpty, structs.KVGetTree,
		structs.KVCheckIndex, structs.KVCheckSession, structs.KVCheckNotExists, structs.KVCheckFence:
	default:
		return unknownVerb("KV", op.Verb)
	}
	return given(op.DirEnt.Key, "Must provide key")
}

// checkTxnSize holds a transaction to the limits, wherever it comes from.
func (s *Server) checkTxnSize(ops []structs.TxnOp) error {
	limits := s.limits.Load()
	if len(ops) > limits.TxnMaxOps {
		return structs.Errorf(structs.TooLarge, "Transaction contains too many operations (%d > %d). See limits.txn_max_ops.",
			len(ops), limits.TxnMaxOps)
	}
	total := 0
	for i := range ops {
		if kv := ops[i].KV; kv != nil && len(kv.DirEnt.Value) > limits.KVMaxValueSize {
			return structs.Errorf(structs.TooLarge, "Value for key %q is too large (%d > %d bytes). See limits.kv_max_value_size.",
				kv.DirEnt.Key, len(kv.DirEnt.Value), limits.KVMaxValueSize)
		}
		total += payload(reflect.ValueOf(&ops[i]))
	}
	if limit := limits.txnSize(); total > limit {
		return structs.Errorf(structs.TooLarge, "Transaction is too large (%d > %d bytes). See limits.txn_max_req_len.", total, limit)
	}
	return nil
}

// txnSize is how many bytes a transaction may have: a value that is allowed by
// itself is allowed in one.
func (l *Limits) txnSize() int { return max(l.TxnMaxReqLen, l.KVMaxValueSize) }

// opOverhead is how many bytes of an encoded operation are not its payload.
const opOverhead = 2 << 10

// payload counts the bytes that an operation carries: texts, values, and one
// for each member of a list or map. It is never more than the operation's JSON,
// so what the HTTP API lets through is not too large here.
func payload(v reflect.Value) int {
	n := 0
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Len()
		}
		for i := range v.Len() {
			n += 1 + payload(v.Index(i))
		}
	case reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			n += 1 + payload(entry.Key()) + payload(entry.Value())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += payload(v.Field(i))
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return payload(v.Elem())
		}
	}
	return n
}

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
	if err := s.checkTxnSize(c.Ops); err != nil {
		return err
	}
	var wrong []structs.TxnError
	view := s.fsm.Store().Read()
	for i := range c.Ops {
		if err := s.prepareOp(view, &c.Ops[i]); err != nil {
			wrong = append(wrong, structs.TxnError{OpIndex: i, What: err.Error()})
		}
	}
	if wrong != nil {
		return &answer{structs.TxnResponse{Errors: wrong}}
	}
	return nil
}

// txnRead serves Txn.Read: a read that does not wait, whatever it asks for.
func txnRead(ctx context.Context, s *Server, q *structs.TxnReadRequest, reply *structs.TxnReadResponse) error {
	q.MinQueryIndex = 0
	return s.route(ctx, call{method: "Txn.Read", request: q, reply: reply, read: &q.QueryOptions, here: func(ctx context.Context) error {
		if err := s.checkTxnSize(q.Ops); err != nil {
			return err
		}
		var wrong []structs.TxnError
		for i := range q.Ops {
			if err := checkReadOp(&q.Ops[i]); err != nil {
				wrong = append(wrong, structs.TxnError{OpIndex: i, What: err.Error()})
			}
		}
		return s.blocking(ctx, &q.QueryOptions, &reply.QueryMeta, func(r *state.Reader) error {
			if reply.TxnResponse = (structs.TxnResponse{Errors: wrong}); wrong == nil {
				reply.TxnResponse = r.Txn(q.Ops)
			}
			return nil
		})
	}})
}

func checkReadOp(op *structs.TxnOp) error {
	if err := checkOp(op); err != nil {
		return err
	}
	if op.Writes() {
		return structs.ErrTxnReads
	}
	return nil
}

// prepareOp checks an operation and decides what must be decided once: whether
// the lock delay of a key is over.
func (s *Server) prepareOp(view *state.Reader, op *structs.TxnOp) error {
	if err := checkOp(op); err != nil || op.KV == nil {
		return err
	}
	entry := &op.KV.DirEnt
	entry.TTLIndex, entry.LockDelay, entry.LockDelayIndex = 0, 0, 0
	if op.KV.Verb == structs.KVLock {
		var over bool
		if entry.LockDelayIndex, over = s.lockDelayOver(view, entry.Key); !over {
			return structs.ErrLockDelay(entry.Key)
		}
	}
	return nil
}

// checkOp refuses an operation that makes no sense whatever the state is. One
// that says nothing is fine.
func checkOp(op *structs.TxnOp) error {
	switch {
	case op.Intention != nil:
		return structs.ErrIntentions
	case op.Kinds() > 1:
		return structs.Errorf(structs.Invalid, "an operation is of one kind only: make one of each")
	case op.KV != nil:
		return checkKVOp(op.KV)
	case op.Node != nil:
		return checkNodeOp(op.Node)
	case op.Service != nil:
		return checkServiceOp(op.Service)
	case op.Check != nil:
		return checkCheckOp(op.Check)
	case op.Session != nil:
		if op.Session.Verb != structs.TxnDelete {
			return unknownVerb("Session", op.Session.Verb)
		}
		return must(op.Session.Session.ID, "Missing session ID")
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
	return must(op.DirEnt.Key, "Must provide key")
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

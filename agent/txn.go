package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"praetor/agent/config"
	"praetor/structs"
)

// txnJSON is an operation of a transaction in a request: one of its fields is set.
type txnJSON struct {
	KV        *txnKVJSON
	Node      *structs.TxnNodeOp
	Service   *txnServiceJSON
	Check     *txnCheckJSON
	Session   *txnSessionJSON
	Intention *json.RawMessage
}

// tenancy is Consul Enterprise's: only the defaults are there.
type tenancy struct{ Namespace, Partition string }

func (t *tenancy) check() error {
	if t.Namespace != "" && t.Namespace != "default" {
		return badRequest(textNamespaces, "field", "Namespace")
	}
	if t.Partition != "" && t.Partition != "default" {
		return badRequest(textPartitions, "field", "Partition")
	}
	return nil
}

// txnKVJSON is an operation on a key. Index is the ModifyIndex that the verb
// compares with; for check-fence, the LockIndex.
type txnKVJSON struct {
	Verb    structs.KVOp
	Key     string
	Value   []byte
	Flags   uint64
	Index   uint64
	Session string
	TTL     structs.Duration
	tenancy
}

func (o *txnKVJSON) op() *structs.TxnKVOp {
	op := &structs.TxnKVOp{Verb: o.Verb, DirEnt: structs.DirEntry{
		Key: o.Key, Value: o.Value, Flags: o.Flags, Session: o.Session, TTL: time.Duration(o.TTL),
	}}
	if o.Verb == structs.KVCheckFence {
		op.DirEnt.LockIndex = o.Index
	} else {
		op.DirEnt.ModifyIndex = o.Index
	}
	return op
}

// txnServiceJSON is an operation on a service, with what the Go client sends
// along and nobody uses.
type txnServiceJSON struct {
	Verb    structs.TxnVerb
	Node    string
	Service struct {
		structs.NodeService
		ContentHash, Datacenter string
		tenancy
	}
}

// txnCheckJSON is an operation on a check.
type txnCheckJSON struct {
	Verb  structs.TxnVerb
	Check struct {
		structs.HealthCheck
		tenancy
	}
}

// txnSessionJSON is an operation on a session, of which only the id counts.
type txnSessionJSON struct {
	Verb    structs.TxnVerb
	Session sessionID
}

type sessionID string

// UnmarshalJSON reads the id and passes over the rest of the session.
func (id *sessionID) UnmarshalJSON(text []byte) error {
	var session struct{ ID string }
	err := json.Unmarshal(text, &session)
	*id = sessionID(session.ID)
	return err
}

func (o *txnJSON) op() (op structs.TxnOp, err error) {
	if o.KV != nil {
		op.KV, err = o.KV.op(), o.KV.check()
	}
	op.Node = o.Node
	if o.Service != nil {
		op.Service = &structs.TxnServiceOp{Verb: o.Service.Verb, Node: o.Service.Node, Service: o.Service.Service.NodeService}
		err = errors.Join(err, o.Service.Service.check())
	}
	if o.Check != nil {
		op.Check = &structs.TxnCheckOp{Verb: o.Check.Verb, Check: o.Check.Check.HealthCheck}
		err = errors.Join(err, o.Check.Check.check())
	}
	if o.Session != nil {
		op.Session = &structs.TxnSessionOp{Verb: o.Session.Verb, Session: structs.Session{ID: string(o.Session.Session)}}
	}
	if o.Intention != nil {
		op.Intention = &structs.TxnIntentionOp{}
	}
	return op, err
}

// readTxn reads the operations of a transaction.
func readTxn(text []byte) ([]structs.TxnOp, error) {
	var given []*txnJSON
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&given); err != nil {
		return nil, badRequest("Failed to parse body: %v", err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, badRequest("Failed to parse body: there is more behind the list of operations")
	}
	ops := make([]structs.TxnOp, 0, len(given))
	for i, one := range given {
		if one == nil {
			return nil, badRequest("Failed to parse body: operation %d is null", i)
		}
		op, err := one.op()
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// txn runs a transaction. One that only reads may be read in any consistency,
// and its answer has the meta data of a read in it.
func txn(c *exchange) error {
	text, err := c.body(txnLimit(c.settings))
	if err != nil {
		return err
	}
	ops, err := readTxn(text)
	if err != nil {
		return err
	}
	start, writes := time.Now(), false
	for i := range ops {
		writes = writes || ops[i].Writes()
	}
	if writes {
		var reply structs.TxnResponse
		request := structs.TxnRequest{Datacenter: c.query.datacenter(), Ops: ops}
		if err := c.call("Txn.Apply", &request, &reply); err != nil {
			return err
		}
		c.router.txnApply.since(start)
		return c.replyTxn(&reply, &reply)
	}
	q := structs.TxnReadRequest{Datacenter: c.query.datacenter(), Ops: ops}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply structs.TxnReadResponse
	if err := c.read("Txn.Read", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.router.txnRead.since(start)
	c.setContact(&reply.QueryMeta)
	return c.replyTxn(&reply.TxnResponse, &reply)
}

// replyTxn answers with all that is to be said about a transaction, of which
// outcome is a part.
func (c *exchange) replyTxn(outcome *structs.TxnResponse, all any) error {
	status := http.StatusOK
	if len(outcome.Errors) > 0 {
		status, outcome.Results = http.StatusConflict, nil
	} else if outcome.Results == nil {
		outcome.Results = []structs.TxnResult{}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return c.sendJSONAs(status, text)
}

// txnLimit is how large a transaction may be: one value that is allowed by
// itself must fit.
func txnLimit(r *config.Runtime) limit {
	return limit{max(r.Limits.TxnMaxReqLen, r.Limits.KVMaxValueSize), "limits.txn_max_req_len"}
}

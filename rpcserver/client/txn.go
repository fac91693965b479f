package client

import (
	"context"

	"praetor/structs"
)

// Txn runs transactions.
type Txn struct{ c *Client }

// Txn returns the calls about transactions.
func (c *Client) Txn() Txn { return Txn{c} }

// Apply does all operations or none. If the reply has Errors, nothing was done,
// and they say which operations were wrong.
func (t Txn) Apply(ctx context.Context, ops ...structs.TxnOp) (structs.TxnResponse, error) {
	var reply structs.TxnResponse
	request := structs.TxnRequest{Datacenter: t.c.config.Datacenter, Ops: ops}
	err := t.c.Write(ctx, "Txn.Apply", &request, &reply)
	return reply, err
}

// Read runs operations that only read, on one view of the state. It does not
// wait. A nil q means the defaults: the leader answers.
func (t Txn) Read(ctx context.Context, q *structs.QueryOptions, ops ...structs.TxnOp) (structs.TxnReadResponse, error) {
	var reply structs.TxnReadResponse
	request := structs.TxnReadRequest{Datacenter: t.c.config.Datacenter, Ops: ops, QueryOptions: options(q)}
	request.MinQueryIndex = 0
	err := t.c.Read(ctx, "Txn.Read", &request, &reply, 0)
	return reply, err
}

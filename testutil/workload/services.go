package workload

import (
	"context"
	"strings"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil/history"
)

// A service of the catalog with one instance on a node of its own is a register:
// what it holds is in the meta data of the instance. So it goes into the history
// as a key of its own name, and the same models check it.

// valueOf is the name of the value in the meta data of an instance.
const valueOf = "value"

// service does something with a service.
func (w *worker) service(ctx context.Context) {
	slot := w.rng.IntN(w.Slots)
	name := w.services.use(slot)
	switch n := w.rng.IntN(100); {
	case n < 35:
		w.instances(ctx, name, slot, w.kind(), 0)
	case n < 50:
		w.awaitInstances(ctx, name, slot)
	case n < 75:
		w.enroll(ctx, name, slot)
	case n < 90 && w.seen[name] > 0:
		w.enrollCAS(ctx, name, slot)
	default:
		w.dismiss(ctx, name, slot)
	}
}

// awaitInstances blocks until a service changes.
func (w *worker) awaitInstances(ctx context.Context, name string, slot int) {
	kind, after := w.kind(), w.index[name]
	if after == 0 {
		if w.instances(ctx, name, slot, kind, 0); w.index[name] == 0 {
			return
		}
		after = w.index[name]
	}
	w.instances(ctx, name, slot, kind, after)
}

// instances reads a service. Each slot has one way to ask, since each has its
// own index.
func (w *worker) instances(ctx context.Context, name string, slot int, kind history.Read, after uint64) {
	op := history.Op{Kind: history.Get, Key: name, Service: true, Read: kind, After: after}
	var meta structs.QueryMeta
	result, ok := w.ask(ctx, op, nil, 0, func(ctx context.Context, c *client.Client) (history.Result, error) {
		q := w.options(kind, after)
		var entries []history.Entry
		var err error
		switch slot % 3 {
		case 0:
			var reply structs.IndexedCheckServiceNodes
			err = c.Read(ctx, "Health.ServiceNodes", &structs.ServiceSpecificRequest{ServiceName: name, QueryOptions: q}, &reply, q.MaxQueryTime)
			for _, n := range reply.Nodes {
				entries = append(entries, history.Entry{Key: name, Value: n.Service.Meta[valueOf], ModifyIndex: n.Service.ModifyIndex})
			}
			meta = reply.QueryMeta
		case 1:
			var reply structs.IndexedServiceNodes
			err = c.Read(ctx, "Catalog.ServiceNodes", &structs.ServiceSpecificRequest{ServiceName: name, QueryOptions: q}, &reply, q.MaxQueryTime)
			entries, meta = ServiceEntries(reply.ServiceNodes), reply.QueryMeta
		default:
			var reply structs.IndexedNodeServices
			err = c.Read(ctx, "Catalog.NodeServices", &structs.NodeSpecificRequest{Node: name, QueryOptions: q}, &reply, q.MaxQueryTime)
			if reply.NodeServices != nil {
				for _, s := range reply.NodeServices.Services {
					entries = append(entries, history.Entry{Key: name, Value: s.Meta[valueOf], ModifyIndex: s.ModifyIndex})
				}
			}
			meta = reply.QueryMeta
		}
		result := history.Result{Entries: entries, Index: meta.Index, Epoch: meta.Epoch}
		if len(entries) == 0 {
			result.Index = 0 // it is about other services, and says nothing of this one
		}
		return result, err
	})
	if ok {
		w.index[name] = meta.Index
		w.remember(name, result.Entries)
	}
}

// ServiceEntries are the services of the workload among rows of the catalog, as they
// are in its history.
func ServiceEntries(rows []*structs.ServiceNode) (entries []history.Entry) {
	for _, s := range rows {
		if value, ok := s.ServiceMeta[valueOf]; ok {
			entries = append(entries, history.Entry{Key: s.ServiceName, Value: value, ModifyIndex: s.ModifyIndex})
		}
	}
	return entries
}

func instanceOf(name, value string) structs.NodeService {
	return structs.NodeService{ID: "instance", Service: name, Meta: map[string]string{valueOf: value}}
}

// enroll registers the instance, anew or again.
func (w *worker) enroll(ctx context.Context, name string, slot int) {
	op := history.Op{Kind: history.Put, Key: name, Service: true, Value: w.value()}
	w.ask(ctx, op, w.services, slot, func(ctx context.Context, c *client.Client) (history.Result, error) {
		instance := instanceOf(name, op.Value)
		request := structs.RegisterRequest{Node: name, Address: "192.0.2.1", Service: &instance}
		return history.Result{}, c.Write(ctx, "Catalog.Register", &request, &struct{}{})
	})
}

// enrollCAS does so if the instance is as this client has last seen it.
func (w *worker) enrollCAS(ctx context.Context, name string, slot int) {
	op := history.Op{Kind: history.CAS, Key: name, Service: true, Value: w.value(), Index: w.seen[name]}
	w.ask(ctx, op, w.services, slot, func(ctx context.Context, c *client.Client) (history.Result, error) {
		instance := instanceOf(name, op.Value)
		instance.ModifyIndex = op.Index
		var reply structs.TxnResponse
		err := c.Write(ctx, "Txn.Apply", &structs.TxnRequest{Ops: []structs.TxnOp{{
			Service: &structs.TxnServiceOp{Verb: structs.TxnCAS, Node: name, Service: instance},
		}}}, &reply)
		return history.Result{OK: len(reply.Errors) == 0}, err
	})
}

// dismiss takes the instance out of the catalog. Its node stays.
func (w *worker) dismiss(ctx context.Context, name string, slot int) {
	w.ask(ctx, history.Op{Kind: history.Delete, Key: name, Service: true}, w.services, slot, func(ctx context.Context, c *client.Client) (history.Result, error) {
		return history.Result{}, c.Write(ctx, "Catalog.Deregister", &structs.DeregisterRequest{Node: name, ServiceID: "instance"}, &struct{}{})
	})
}

// ServiceNames is how the names of the services of a workload begin, whose keys
// begin with prefix.
func ServiceNames(prefix string) string { return "service-" + strings.Trim(prefix, "/") + "-" }

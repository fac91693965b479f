package state_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"praetor/state"
	"praetor/structs"
)

// single does what an operation does, as a command of its own, and returns
// whether the operation must fail.
func single(t *rapid.T, w *state.Writer, op *structs.TxnOp) (fails bool) {
	register := func(c structs.RegisterRequest) bool {
		_, err := w.ApplyRegister(&c)
		return err != nil
	}
	deregister := func(c structs.DeregisterRequest) bool {
		if _, err := w.ApplyDeregister(&c); err != nil {
			t.Fatal(err)
		}
		return false
	}
	switch {
	case op.KV != nil:
		done, err := w.ApplyKV(&structs.KVSRequest{Op: op.KV.Verb, DirEnt: op.KV.DirEnt})
		return err != nil || !done && op.KV.Verb != structs.KVSet && op.KV.Verb != structs.KVDelete && op.KV.Verb != structs.KVDeleteTree
	case op.Session != nil:
		if _, err := w.ApplySession(&structs.SessionRequest{Op: structs.SessionDestroy, Session: op.Session.Session}); err != nil {
			t.Fatal(err)
		}
	case op.Node != nil:
		n := op.Node.Node
		if op.Node.Verb == structs.TxnDelete {
			return deregister(structs.DeregisterRequest{Node: n.Node})
		}
		return register(structs.RegisterRequest{ID: n.ID, Node: n.Node, Address: n.Address})
	case op.Service != nil:
		if op.Service.Verb == structs.TxnDelete {
			return deregister(structs.DeregisterRequest{Node: op.Service.Node, ServiceID: op.Service.Service.ID})
		}
		if w.Node(op.Service.Node) == nil {
			return true // a registration would make the node
		}
		return register(structs.RegisterRequest{Node: op.Service.Node, SkipNodeUpdate: true, Service: &op.Service.Service})
	case op.Check != nil:
		c := op.Check.Check
		if op.Check.Verb == structs.TxnDelete {
			return deregister(structs.DeregisterRequest{Node: c.Node, CheckID: c.CheckID})
		}
		if w.Node(c.Node) == nil {
			return true
		}
		return register(structs.RegisterRequest{Node: c.Node, SkipNodeUpdate: true, Checks: []*structs.HealthCheck{&c}})
	}
	return false
}

// drawSingle is a random operation that a command can do as well.
func drawSingle(t *rapid.T, r *state.Reader) structs.TxnOp {
	verb := rapid.SampledFrom([]structs.TxnVerb{structs.TxnSet, structs.TxnSet, structs.TxnSet, structs.TxnDelete}).Draw(t, "verb")
	node := rapid.SampledFrom([]string{"n1", "N1", "n2"}).Draw(t, "node")
	id := rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "id")
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return structs.TxnOp{Session: &structs.TxnSessionOp{Verb: structs.TxnDelete, Session: structs.Session{ID: id}}}
	case 1:
		return nodeOp(verb, structs.Node{
			Node: node, Address: rapid.SampledFrom([]string{"1.1.1.1", "2.2.2.2"}).Draw(t, "address"),
			ID: rapid.SampledFrom([]string{"", "id1", "id2"}).Draw(t, "node id"),
		})
	case 2, 3:
		return serviceOp(verb, node, structs.NodeService{
			ID: id, Service: rapid.SampledFrom([]string{"web", "db"}).Draw(t, "name"), Port: rapid.IntRange(1, 2).Draw(t, "port"),
		})
	case 4, 5:
		return checkOp(verb, structs.HealthCheck{
			Node: node, CheckID: rapid.SampledFrom([]string{"c1", "c2"}).Draw(t, "check"),
			ServiceID: rapid.SampledFrom([]string{"", "s1", "s2"}).Draw(t, "service"),
			Status:    rapid.SampledFrom([]string{structs.HealthPassing, structs.HealthPassing, structs.HealthCritical}).Draw(t, "status"),
		})
	}
	e := structs.DirEntry{
		Key: rapid.SampledFrom([]string{"a", "a/1", "b"}).Draw(t, "key"), Session: id,
		Value: []byte(rapid.SampledFrom([]string{"", "1"}).Draw(t, "value")),
	}
	if row := r.KV(e.Key); row != nil {
		e.ModifyIndex = row.ModifyIndex
	}
	_, e.LockDelayIndex = r.LockDelay(e.Key)
	return kvOp(rapid.SampledFrom([]structs.KVOp{
		structs.KVSet, structs.KVSet, structs.KVCAS, structs.KVDelete, structs.KVDeleteCAS, structs.KVDeleteTree,
		structs.KVLock, structs.KVLock, structs.KVUnlock,
	}).Draw(t, "kv verb"), e)
}

// A transaction does what its operations do as commands of their own at the
// same index, row for row and index for index; or, if one of them must fail,
// nothing at all.
func TestTxnIsItsCommands(t *testing.T) {
	t.Parallel()
	whole, failed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		one, all := &db{Store: state.New()}, &db{Store: state.New()}
		both := func(index uint64, change func(w *state.Writer)) {
			for _, d := range []*db{one, all} {
				w := d.Write()
				w.Begin(index)
				change(w)
				w.Commit()
			}
		}
		index := uint64(1)
		both(index, func(w *state.Writer) {
			for _, name := range []string{"n1", "n2"} {
				_, err := w.ApplyRegister(&structs.RegisterRequest{Node: name, Address: "1.1.1.1", Check: &structs.HealthCheck{
					Node: name, CheckID: "c1", Status: structs.HealthPassing,
				}})
				if err != nil {
					t.Fatal(err)
				}
			}
		})
		for range rapid.IntRange(1, 12).Draw(t, "transactions") {
			index++
			if id := rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "session"); one.Read().Session(id) == nil {
				checks := rapid.SampledFrom([][]string{nil, {"c1"}}).Draw(t, "checks")
				both(index, func(w *state.Writer) {
					s := structs.Session{ID: id, Node: "n" + id[1:], NodeChecks: checks, LockDelay: 1}
					if _, err := w.ApplySession(&structs.SessionRequest{Op: structs.SessionCreate, Session: s}); err != nil {
						w.Undo() // on both
					}
				})
				index++
			}
			w := one.Write()
			w.Begin(index)
			var ops []structs.TxnOp
			fails := false
			for range rapid.IntRange(1, 6).Draw(t, "ops") {
				op := drawSingle(t, &w.Reader)
				ops = append(ops, op)
				fails = single(t, w, &op) || fails
			}
			if fails {
				w.Undo()
			}
			w.Commit()

			w = all.Write()
			w.Begin(index)
			reply, err := w.ApplyTxn(&structs.TxnRequest{Ops: ops})
			w.Commit()
			if err != nil || (reply.Errors != nil) != fails {
				t.Fatalf("got errors %+v, %v, want any: %v", reply.Errors, err, fails)
			}
			if diff := cmp.Diff(one.everything(), all.everything()); diff != "" {
				t.Fatalf("at %d (-commands +transaction):\n%s", index, diff)
			}
			if fails {
				failed++
			} else {
				whole++
			}
		}
	})
	t.Logf("%d transactions went through, %d failed", whole, failed)
	if whole == 0 || failed == 0 {
		t.Error("the random transactions are all of one kind")
	}
}

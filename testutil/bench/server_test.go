package bench_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"praetor/fsm"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/bench"
)

// shared is one server for all measures that need one, in a process of its own.
var shared = sync.OnceValue(func() *testutil.Process {
	p := testutil.NewProcess(sharedTB, "-bootstrap", "-log-level=warn")
	p.Start()
	p.AwaitLeader()
	return p
})

var sharedTB testing.TB

func server(b *testing.B) *testutil.Process {
	sharedTB = b
	return shared()
}

// web has a connection for each caller, shared by all measures, since a server
// limits the connections of one client.
var web = bench.Web(bench.Callers)

func setupFloor(b *testing.B) (bench.Op, []int) { return bench.Floor(b), nil }

func setupFSM(b *testing.B) (bench.Op, []int) {
	entries := make([][]byte, bench.Keys)
	for i := range entries {
		var err error
		if entries[i], err = structs.EncodeCommand(bench.Put(i)); err != nil {
			b.Fatal(err)
		}
	}
	node := bench.StartRaft(b, fsm.New())
	return func(_, i int) error { return node.Apply(entries[i%bench.Keys], time.Minute).Error() }, nil
}

func setupRPCPut(b *testing.B) (bench.Op, []int) {
	p := server(b)
	return bench.RPCPut(p.Client()), []int{p.PID()}
}

func setupRPCGet(b *testing.B) (bench.Op, []int) {
	p := server(b)
	return bench.RPCGet(p.Client()), []int{p.PID()}
}

func setupTxn(b *testing.B) (bench.Op, []int) {
	p := server(b)
	c := p.Client()
	return func(_, i int) error {
		ops := make([]structs.TxnOp, 64)
		for j := range ops {
			ops[j].KV = &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: bench.Put(64*i + j).DirEnt}
		}
		reply, err := c.Txn().Apply(context.Background(), ops...)
		if err == nil && len(reply.Results) != len(ops) {
			err = fmt.Errorf("%d results, errors %v", len(reply.Results), reply.Errors)
		}
		return err
	}, []int{p.PID()}
}

func setupHTTPPut(b *testing.B) (bench.Op, []int) {
	p := server(b)
	return bench.HTTPPut(web, p.HTTPAddr()), []int{p.PID()}
}

func setupHTTPGet(mode string) func(b *testing.B) (bench.Op, []int) {
	return func(b *testing.B) (bench.Op, []int) {
		p := server(b)
		return bench.HTTPGet(web, mode, p.HTTPAddr()), []int{p.PID()}
	}
}

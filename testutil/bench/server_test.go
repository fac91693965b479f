package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"praetor/structs"
	"praetor/testutil"
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

func setupRPCPut(b *testing.B) (func(caller, i int) error, int) {
	p := server(b)
	c := p.Client()
	return func(_, i int) error {
		_, err := c.KV().Apply(context.Background(), structs.KVSet, put(i).DirEnt)
		return err
	}, p.PID()
}

func setupRPCGet(b *testing.B) (func(caller, i int) error, int) {
	p := server(b)
	c := p.Client()
	return func(_, i int) error {
		_, _, err := c.KV().Get(context.Background(), keyName(i), nil)
		return err
	}, p.PID()
}

func setupTxn(b *testing.B) (func(caller, i int) error, int) {
	p := server(b)
	c := p.Client()
	return func(_, i int) error {
		ops := make([]structs.TxnOp, 64)
		for j := range ops {
			ops[j].KV = &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: put(64*i + j).DirEnt}
		}
		reply, err := c.Txn().Apply(context.Background(), ops...)
		if err == nil && len(reply.Results) != len(ops) {
			err = fmt.Errorf("%d results, errors %v", len(reply.Results), reply.Errors)
		}
		return err
	}, p.PID()
}

// web is an HTTP client with a connection for each caller, shared by all
// measures, since a server limits the connections of one client.
var web = sync.OnceValue(func() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers, MaxConnsPerHost: callers, DisableCompression: true}}
})

func setupHTTPPut(b *testing.B) (func(caller, i int) error, int) {
	p := server(b)
	c := web()
	return func(_, i int) error {
		request, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/v1/kv/%s?flags=%d", p.HTTPAddr(), keyName(i), i), bytes.NewReader(value))
		if err != nil {
			return err
		}
		return answer(c.Do(request))
	}, p.PID()
}

func setupHTTPGet(mode string) func(b *testing.B) (func(caller, i int) error, int) {
	return func(b *testing.B) (func(caller, i int) error, int) {
		p := server(b)
		c := web()
		return func(_, i int) error {
			return answer(c.Get("http://" + p.HTTPAddr() + "/v1/kv/" + keyName(i) + mode))
		}, p.PID()
	}
}

func answer(r *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", r.StatusCode, body)
	}
	return err
}

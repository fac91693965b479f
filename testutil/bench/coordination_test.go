package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/bench"
)

// What coordination costs, each beside a plain way to do as much on the same
// server in the same run.

const (
	txnPuts    = 64
	contenders = 16
	sessions   = 20_000
)

// BenchmarkCoordination runs the measures in turn, several times, and prints
// medians.
func BenchmarkCoordination(b *testing.B) {
	p := testutil.NewProcess(b, "-bootstrap", "-log-level=warn", "-hcl=limits { http_max_conns_per_client = 1000 rpc_max_conns_per_client = 1000 }")
	p.Start()
	p.AwaitLeader()
	awaitSerfHealth(b, p)
	c := p.Client()
	measures := []struct {
		name string
		each int // of what it is a multiple of, one operation does so many
		op   bench.Op
	}{
		{"KV.Apply, one put", 1, bench.RPCPut(c)},
		{fmt.Sprintf("Txn.Apply, %d puts", txnPuts), txnPuts, func(_, i int) error {
			reply, err := c.Txn().Apply(context.Background(), putOps(i)...)
			if err == nil && len(reply.Errors) > 0 {
				err = fmt.Errorf("transaction: %v", reply.Errors[0].What)
			}
			return err
		}},
		{fmt.Sprintf("PUT /v1/txn, %d puts", txnPuts), txnPuts, func(_, i int) error {
			request, err := http.NewRequest(http.MethodPut, "http://"+p.HTTPAddr()+"/v1/txn", bytes.NewReader(putJSON(b, i)))
			if err != nil {
				return err
			}
			return bench.Answer(web.Do(request))
		}},
	}
	rates, batons, locks := make([][]bench.Result, len(measures)), []float64{}, []float64{}
	for b.Loop() {
		for range rounds {
			for i, m := range measures {
				bench.Run(b, bench.Callers, m.op, warmUp, p.PID())
				rates[i] = append(rates[i], bench.Run(b, bench.Callers, m.op, runTime, p.PID()))
			}
			batons = append(batons, passBaton(b, c))
			locks = append(locks, contend(b, c))
		}
	}
	plain := bench.MedianResult(rates[0]).PerSecond
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "\n| measure\t| per second\t| puts per second, of the plain puts\t| server CPU µs/put\t|")
	fmt.Fprintln(w, "|---\t|---:\t|---:\t|---:\t|")
	for i, m := range measures {
		r := bench.MedianResult(rates[i])
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.1f x\t| %.1f\t|\n", m.name, r.PerSecond, r.PerSecond*float64(m.each)/plain, bench.Micros(r.Peer)/float64(m.each))
	}
	fmt.Fprintf(w, "\n| %d contenders\t| handovers per second\t|\n|---\t|---:\t|\n", contenders)
	fmt.Fprintf(w, "| a baton: put, the next one's blocking query wakes\t| %.0f\t|\n", bench.Median(batons))
	fmt.Fprintf(w, "| a lock: release, blocking queries wake, one acquires\t| %.0f\t|\n", bench.Median(locks))
	key, session := memoryPer(b, p, c)
	fmt.Fprintf(w, "\n| %d of them\t| resident bytes each\t|\n|---\t|---:\t|\n", sessions)
	fmt.Fprintf(w, "| keys with a value of %d bytes\t| %d\t|\n| sessions with a TTL\t| %d\t|\n", bench.ValueLen, key, session)
	w.Flush()
}

func putOps(i int) []structs.TxnOp {
	ops := make([]structs.TxnOp, txnPuts)
	for n := range ops {
		ops[n].KV = &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: bench.Put(i*txnPuts + n).DirEnt}
		ops[n].KV.DirEnt.Flags = uint64(i)
	}
	return ops
}

func putJSON(b *testing.B, i int) []byte {
	type kv struct {
		Verb, Key string
		Flags     uint64
		Value     []byte
	}
	var body []map[string]kv
	for _, op := range putOps(i) {
		body = append(body, map[string]kv{"KV": {"set", op.KV.DirEnt.Key, op.KV.DirEnt.Flags, op.KV.DirEnt.Value}})
	}
	text, err := json.Marshal(body)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// awaitSerfHealth waits until sessions can be made on the server's node.
func awaitSerfHealth(b *testing.B, p *testutil.Process) {
	testutil.Eventually(b, 30*time.Second, "a session", func() error {
		id, err := p.Client().Session().Create(context.Background(), newSession(p, "wait"))
		if err == nil {
			err = p.Client().Session().Destroy(context.Background(), id)
		}
		return err
	})
}

var benchNode string

func newSession(p *testutil.Process, name string) structs.Session {
	benchNode = fmt.Sprintf("server-%d", p.RPC)
	return structs.Session{Name: name, Node: benchNode, TTL: "10m", NodeChecks: []string{structs.SerfHealth}}
}

// passBaton hands a key round among contenders, each woken by a blocking query.
func passBaton(b *testing.B, c *client.Client) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), runTime)
	defer cancel()
	kv := c.KV()
	if err := kv.Put(context.Background(), "baton", []byte("0")); err != nil {
		b.Fatal(err)
	}
	var passed int
	var runners sync.WaitGroup
	for me := range contenders {
		runners.Go(func() {
			q := structs.QueryOptions{}
			for ctx.Err() == nil {
				entry, meta, err := kv.Get(ctx, "baton", &q)
				if err != nil {
					return
				}
				q.MinQueryIndex = meta.Index
				var turn int
				fmt.Sscan(string(entry.Value), &turn)
				if turn%contenders == me {
					passed = turn
					if kv.Put(ctx, "baton", fmt.Append(nil, turn+1)) != nil {
						return
					}
				}
			}
		})
	}
	runners.Wait()
	return float64(passed) / runTime.Seconds()
}

// contend lets contenders take one lock and give it back at once.
func contend(b *testing.B, c *client.Client) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), runTime)
	defer cancel()
	kv := c.KV()
	taken := make([]int, contenders)
	var runners sync.WaitGroup
	for me := range contenders {
		id, err := c.Session().Create(context.Background(), structs.Session{Node: benchNode, NodeChecks: []string{structs.SerfHealth}})
		if err != nil {
			b.Fatal(err)
		}
		runners.Go(func() {
			defer c.Session().Destroy(context.Background(), id)
			q := structs.QueryOptions{}
			for ctx.Err() == nil {
				mine, err := kv.Acquire(ctx, "lock", nil, id)
				if err != nil {
					return
				}
				if mine {
					taken[me]++
					if _, err := kv.Release(ctx, "lock", nil, id); err != nil {
						return
					}
					continue
				}
				entry, meta, err := kv.Get(ctx, "lock", &q)
				if err != nil {
					return
				}
				q.MinQueryIndex = meta.Index
				if entry != nil && entry.Session == "" {
					q.MinQueryIndex = 0
				}
			}
		})
	}
	runners.Wait()
	all := 0
	for _, n := range taken {
		all += n
	}
	return float64(all) / runTime.Seconds()
}

// memoryPer is how much resident memory a key and a session take.
func memoryPer(b *testing.B, p *testutil.Process, c *client.Client) (key, session int64) {
	grown := func(make func(i int) error) int64 {
		before := bench.Resident(b, p.PID())
		bench.Each(b, bench.Callers, sessions, make)
		return (bench.Resident(b, p.PID()) - before) / sessions
	}
	key = grown(func(i int) error { return c.KV().Put(context.Background(), fmt.Sprintf("memory/%d", i), bench.Value) })
	session = grown(func(i int) error {
		_, err := c.Session().Create(context.Background(), newSession(p, "memory"))
		return err
	})
	return key, session
}

package rpcserver_test

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
)

// benchCall runs one method from 64 callers that share a connection.
func benchCall(b *testing.B, method string, args any, reply func() any) {
	s := startServer(b)
	raw, err := net.Dial("tcp", s.Addr())
	if err != nil {
		b.Fatal(err)
	}
	conn, err := client.NewConn(raw, wire.Limits{MaxBody: 1 << 20, Stall: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	var callers sync.WaitGroup
	for caller := range 64 {
		callers.Go(func() {
			for i := caller; i < b.N; i += 64 {
				if err := conn.Call(ctx, method, args, reply()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what this process has used, which a busy machine blurs less than
// the time that passes.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkCallLoop is the cost of a call that does nothing.
func BenchmarkCallLoop(b *testing.B) {
	benchCall(b, "Status.Ping", &wire.Empty{}, func() any { return &wire.Empty{} })
}

// BenchmarkGetLoop is the cost of reading a key that is not there.
func BenchmarkGetLoop(b *testing.B) {
	benchCall(b, "KV.Get", &structs.KeyRequest{Datacenter: "dc1", Key: "greeting"},
		func() any { return &structs.IndexedDirEntries{} })
}

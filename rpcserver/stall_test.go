package rpcserver_test

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// alone is one server in virtual time, and a way to open a conversation with it
// from a host of one's own.
func alone(t *testing.T) (c *cluster.Cluster, dial func() *raw) {
	t.Helper()
	c = cluster.New(t, 1, func(_ int, config *rpcserver.Config) { config.DataDir = "" })
	return c, func() *raw {
		t.Helper()
		conn, err := c.Net.Host("10.0.2.1").Dial(context.Background(), c.Nodes[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		return newRaw(t, conn)
	}
}

// awaitEnd waits until the server has closed the connection and returns how
// long that took.
func (r *raw) awaitEnd(limit time.Duration) time.Duration {
	r.t.Helper()
	start := time.Now()
	r.SetReadDeadline(start.Add(limit))
	if _, err := io.Copy(io.Discard, r.in); errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Errorf("connection is still open after %s", limit)
	}
	return time.Since(start)
}

func TestSlowSender(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, dial := alone(t)
		message := request(t, 1, "KV.Apply", map[string]any{"Op": "set", "DirEnt": map[string]any{"Key": "a", "Value": make([]byte, 300<<10)}})

		idle := dial() // may be, for as long as it likes
		stopped := dial()
		stopped.Write(message[:1000])
		if took := stopped.awaitEnd(time.Hour); took != 30*time.Second {
			t.Errorf("a peer that stops was dropped after %s, want 30s", took)
		}
		var sender sync.WaitGroup
		defer sender.Wait()
		trickle := func(pause time.Duration, n int) *raw {
			r := dial()
			sender.Go(func() {
				for rest := message; len(rest) > 0; rest = rest[min(n, len(rest)):] {
					if _, err := r.Write(rest[:min(n, len(rest))]); err != nil {
						return
					}
					time.Sleep(pause)
				}
			})
			return r
		}
		if took := trickle(time.Second, 1).awaitEnd(time.Hour); took != 30*time.Second {
			t.Errorf("a peer that sends a byte a second was dropped after %s, want 30s", took)
		}
		var done bool
		if got := trickle(time.Second, 4<<10).receive(&done); got.Error != "" { // 75 s for 300 KB
			t.Errorf("a slow but honest peer: got %+v", got)
		}
		time.Sleep(time.Hour)
		idle.send(1, "Status.Ping", nil)
		idle.receive(nil)
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, dial := alone(t)
		kv, ctx := c.Client().KV(), context.Background()
		if err := kv.Put(ctx, "big", make([]byte, 500<<10)); err != nil {
			t.Fatal(err)
		}
		greedy := dial()
		for seq := range 2_000 { // 1 GB of replies
			greedy.send(uint64(seq), "KV.Get", map[string]any{"Key": "big"})
		}
		start := time.Now()
		for time.Since(start) < time.Minute { // others are unaffected
			before := time.Now()
			if _, _, err := kv.Get(ctx, "big", nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(before); took > 10*time.Millisecond {
				t.Fatalf("another client's read took %s", took)
			}
			time.Sleep(time.Second)
		}
		if took := greedy.awaitEnd(time.Second); took > 0 {
			t.Errorf("dropped %s after a minute, want before", took)
		}

		slow := dial() // takes what it asked for in its own time: 15 MB in five minutes
		var sender sync.WaitGroup
		sender.Go(func() {
			for seq := range 30 {
				slow.send(uint64(seq), "KV.Get", map[string]any{"Key": "big"})
			}
		})
		for range 30 {
			time.Sleep(9 * time.Second)
			var got structs.IndexedDirEntries
			if header := slow.receive(&got); header.Error != "" {
				t.Fatal(header.Error)
			}
		}
		sender.Wait()
	})
}

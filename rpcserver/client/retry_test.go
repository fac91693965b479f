package client_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
	"praetor/structs"
)

// What a client with two servers does when the first of them misbehaves. The
// second one is well.
func TestRetry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first func(net.Conn, wire.Request) bool // nil: nobody listens
		write structs.Code                      // what becomes of a write; 0: it is done
		once  bool                              // a write reaches the first server
	}{
		"nobody listens":          {first: nil},
		"no leader":               {first: noLeader, once: true},
		"hangs up mid-call":       {first: hangUp, write: structs.Unclear, once: true},
		"hangs":                   {first: hang, write: structs.Unclear, once: true},
		"hangs but answers pings": {first: pingOnly, write: structs.Unclear, once: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				network := newNetwork(t)
				first := &fake{addr: "10.0.0.1:8300"}
				if c.first != nil {
					first = newFake(t, network, "10.0.0.1", c.first)
				}
				second := newFake(t, network, "10.0.0.2", yes)

				reader := newClient(t, network, first.addr, second.addr).KV()
				took := timed(func() {
					if _, meta, err := reader.Get(ctx, "a", nil); err != nil || meta.Index != 7 {
						t.Errorf("read: got %+v, %v", meta, err)
					}
				})
				if took > 4*time.Second {
					t.Errorf("a read took %s, want a third of the time-out", took)
				}
				if took := timed(func() { reader.Get(ctx, "a", nil) }); took > time.Millisecond {
					t.Errorf("the next read took %s: it should begin with the server that answered", took)
				}

				writer := newClient(t, network, first.addr, second.addr).KV()
				took = timed(func() {
					if err := writer.Put(ctx, "a", nil); structs.CodeOf(err) != c.write || err != nil && c.write == 0 {
						t.Errorf("write: got %v, want code %d", err, c.write)
					}
				})
				if took > 10*time.Second {
					t.Errorf("a write took %s", took)
				}
				if got := first.count("KV.Apply"); (got == 1) != c.once || got > 1 {
					t.Errorf("the first server got the write %d times", got)
				}
				if got := second.count("KV.Apply"); (got == 1) != (c.write == 0) || got > 1 {
					t.Errorf("the second server got the write %d times", got)
				}
				if took := timed(func() {
					if err := writer.Put(ctx, "a", nil); err != nil {
						t.Errorf("next write: %v", err)
					}
				}); took > time.Millisecond {
					t.Errorf("the next write took %s: it should begin with another server", took)
				}
			})
		})
	}
}

// A write that was first refused and then lost on its way is unclear, whatever
// the refusal said.
func TestRefusedThenLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		first := newFake(t, network, "10.0.0.1", noLeader)
		second := newFake(t, network, "10.0.0.2", pingOnly)
		err := newClient(t, network, first.addr, second.addr).KV().Put(ctx, "a", nil)
		if !structs.IsCode(err, structs.Unclear) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v (code %d), want unclear", err, structs.CodeOf(err))
		}
	})
}

// When nobody can help, the error says what each server said, in time.
func TestNobodyHelps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		first := newFake(t, network, "10.0.0.1", noLeader)
		c := newClient(t, network, first.addr)
		took := timed(func() {
			if err := c.KV().Put(ctx, "a", nil); !structs.IsCode(err, structs.NoLeader) {
				t.Errorf("no leader: got %v", err)
			}
		})
		if took != 10*time.Second {
			t.Errorf("gave up after %s, want 10s", took)
		}
		c = newClient(t, network, "10.0.0.9:8300")
		if err := c.KV().Put(ctx, "a", nil); !structs.IsCode(err, structs.Unreachable) {
			t.Errorf("nobody listens: got %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		took = timed(func() {
			if _, _, err := c.KV().Get(short, "a", nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient caller: got %v", err)
			}
		})
		if took != time.Second {
			t.Errorf("an impatient caller got its answer after %s", took)
		}
	})
}

// One server falls into a black hole while the client is connected to it.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		first := newFake(t, network, "10.0.0.1", func(conn net.Conn, r wire.Request) bool {
			return r.ServiceMethod == "KV.List" || yes(conn, r) // lists wait for ever
		})
		second := newFake(t, network, "10.0.0.2", yes)
		kv := newClient(t, network, first.addr, second.addr).KV()
		alone := newClient(t, network, first.addr).KV()
		mustGet := func(limit time.Duration) {
			t.Helper()
			took := timed(func() {
				if _, _, err := kv.Get(ctx, "a", nil); err != nil {
					t.Errorf("read: %v", err)
				}
			})
			if took > limit {
				t.Errorf("read took %s, want at most %s", took, limit)
			}
		}
		mustGet(0)

		// A read that waits for ten minutes, and a peer that vanishes meanwhile.
		type outcome struct {
			err  error
			took time.Duration
		}
		waiting := make(chan outcome, 2)
		wait := &structs.QueryOptions{MinQueryIndex: 1, MaxQueryTime: 10 * time.Minute}
		for _, kv := range []client.KV{kv, alone} {
			go func() {
				var err error
				took := timed(func() { _, _, err = kv.List(ctx, "", wait) })
				waiting <- outcome{err, took}
			}()
		}
		time.Sleep(5 * time.Minute) // the peer lives and says nothing for long
		if len(waiting) > 0 {
			t.Fatalf("a read that waits came back: %+v", <-waiting)
		}
		network.Partition([]string{"10.0.0.1"})
		mustGet(4 * time.Second)
		mustGet(0)
		if got := <-waiting; got.err != nil || got.took > 5*time.Minute+20*time.Second {
			t.Errorf("a read that waited: got %v after %s, want the other server's answer soon", got.err, got.took)
		}

		if got := <-waiting; !structs.IsCode(got.err, structs.Unreachable) || got.took > 5*time.Minute+40*time.Second {
			t.Errorf("a read that waited, with no other server: got %v after %s, want an error soon", got.err, got.took)
		}

		// Connections that nobody uses are noticed too: no write is lost on them.
		time.Sleep(time.Minute)
		if err := kv.Put(ctx, "a", nil); err != nil {
			t.Errorf("write a minute later: %v", err)
		}
		if took := timed(func() {
			if err := alone.Put(ctx, "a", nil); !structs.IsCode(err, structs.Unreachable) {
				t.Errorf("write to the black hole: got %v, want unreachable", err)
			}
		}); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		network.Heal()
		if err := alone.Put(ctx, "a", nil); err != nil {
			t.Errorf("after the partition: %v", err)
		}
	})
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"praetor/structs"
	"praetor/testutil/cluster"
)

// blockingReads is how many reads wait inside servers of this process.
func blockingReads() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "rpcserver.(*Server).blocking(")
}

// A read that waits costs the servers nothing any more once its caller has
// gone, on the server that was asked and on the leader behind it.
func TestCancelFreesServer(t *testing.T) { // not parallel: it counts goroutines
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		follower := c.Followers()[0]
		kv := c.Client(follower).KV()
		for _, end := range []string{"cancel", "close"} {
			cl := c.Client(follower)
			short, cancel := context.WithCancel(context.Background())
			var reads sync.WaitGroup
			for range 10 {
				reads.Go(func() {
					if _, _, err := cl.KV().Get(short, "a", &structs.QueryOptions{MinQueryIndex: 1 << 40}); err == nil {
						t.Error("got no error")
					}
				})
			}
			time.Sleep(time.Second)
			if got := blockingReads(); got != 10 {
				t.Errorf("%d reads wait, want 10", got)
			}
			if end == "close" {
				cl.Close()
			}
			cancel()
			reads.Wait()
			time.Sleep(time.Second)
			if got := blockingReads(); got != 0 {
				t.Errorf("after %s: %d reads still wait", end, got)
			}
		}
		if err := kv.Put(context.Background(), "a", nil); err != nil {
			t.Error(err)
		}
	})
}

func TestManyCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 1)
		kv, ctx := c.Client().KV(), context.Background()
		var callers sync.WaitGroup
		for caller := range 64 {
			callers.Go(func() {
				for i := range 50 {
					key, want := fmt.Sprintf("caller/%d", caller), fmt.Sprint(i)
					if err := kv.Put(ctx, key, []byte(want)); err != nil {
						t.Errorf("put %s: %v", key, err)
					}
					entry, _, err := kv.Get(ctx, key, nil)
					if err != nil || string(entry.Value) != want {
						t.Errorf("get %s: got %v, %v, want %s", key, entry, err, want)
					}
				}
			})
		}
		callers.Wait()
		if entries, _, err := kv.List(ctx, "caller/", nil); err != nil || len(entries) != 64 {
			t.Errorf("got %d entries, %v", len(entries), err)
		}
	})
}

// The client outlives its server.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 1)
		kv, ctx := c.Client().KV(), context.Background()
		if err := kv.Put(ctx, "a", []byte("1")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c.Nodes[0].Restart() // it needs a moment to lead again: the client waits for it
			entry, _, err := kv.Get(ctx, "a", nil)
			if err != nil || string(entry.Value) != "1" {
				t.Fatalf("read after restart: got %v, %v", entry, err)
			}
			if err := kv.Put(ctx, "a", []byte("1")); err != nil {
				t.Fatalf("write after restart: %v", err)
			}
		}
	})
}

// The server that a client talks to dies in the middle of a read that waits.
func TestServerDiesMidCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		ctx := context.Background()
		follower := c.Followers()[0]
		nodes := []*cluster.Node{follower}
		for _, n := range c.Nodes {
			if n != follower {
				nodes = append(nodes, n)
			}
		}
		kv := c.Client(nodes...).KV()
		c.Put("a", "1")
		_, meta, err := kv.Get(ctx, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		changed := make(chan error, 1)
		go func() {
			entry, _, err := kv.Get(ctx, "a", &structs.QueryOptions{MinQueryIndex: meta.Index})
			if err == nil && string(entry.Value) != "2" {
				err = errors.New("came back without a change")
			}
			changed <- err
		}()
		time.Sleep(time.Second)
		follower.Crash()
		time.Sleep(time.Second)
		c.Put("a", "2")
		if err := <-changed; err != nil {
			t.Errorf("read that waited: %v", err)
		}
	})
}

// A follower's leader vanishes while reads wait at it: they do not hang until
// their time is up.
func TestForwardedToVanishedLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 3)
		ctx := context.Background()
		c.Put("a", "1")
		leader, follower := c.Leader(), c.Followers()[0]
		kv := c.Client(follower).KV()
		_, meta, err := kv.Get(ctx, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		changed := make(chan error, 1)
		go func() {
			_, _, err := kv.Get(ctx, "a", &structs.QueryOptions{MinQueryIndex: meta.Index, MaxQueryTime: 10 * time.Minute})
			changed <- err
		}()
		time.Sleep(time.Second)
		c.Net.Partition([]string{leader.IP})
		time.Sleep(30 * time.Second)
		if err := kv.Put(ctx, "a", []byte("2")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-changed:
			if err != nil {
				t.Errorf("read that waited: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("a read still waits at a leader that has gone")
		}
		<-time.After(time.Second)
		c.Net.Heal()
		c.Agree()
	})
}

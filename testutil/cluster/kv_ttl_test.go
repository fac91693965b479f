package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// vanish waits until a key is gone, asleep on the key itself.
func (a app) vanish(key string) {
	a.t.Helper()
	var index uint64
	testutil.Eventually(a.t, 10*time.Minute, "the end of "+key, func() error {
		entry, meta, err := a.KV().Get(context.Background(), key, &structs.QueryOptions{MinQueryIndex: index, MaxQueryTime: time.Minute})
		if err != nil {
			return err
		}
		if index = meta.Index; entry != nil {
			return fmt.Errorf("%s is still there", key)
		}
		return nil
	})
}

func (a app) putTTL(key, value string, ttl time.Duration) {
	a.t.Helper()
	testutil.Eventually(a.t, time.Minute, "put "+key, func() error {
		return a.KV().PutTTL(context.Background(), key, []byte(value), ttl)
	})
}

// A key goes when its TTL is over and those who wait on it learn of it; a set of
// the same value begins the TTL anew and wakes nobody; one without TTL makes the
// key permanent.
func TestKeyTTL(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		start := time.Now()
		a.putTTL("k", "v", 30*time.Second)
		a.putTTL("other", "v", time.Minute)
		created := a.entry("k")
		if created.TTL != 30*time.Second {
			t.Errorf("got %+v, want a TTL of 30 s", created)
		}
		time.Sleep(20 * time.Second)
		a.putTTL("k", "v", 30*time.Second)
		refreshed := time.Now()
		if e := a.entry("k"); e.ModifyIndex != created.ModifyIndex {
			t.Errorf("a refresh moved the index from %d to %d", created.ModifyIndex, e.ModifyIndex)
		}
		a.vanish("k")
		took(t, "the key after its refresh", refreshed, 30*time.Second, 30200*time.Millisecond)
		a.putTTL("other", "v", 0)
		if e := a.entry("other"); e.TTL != 0 || e.ModifyIndex == e.CreateIndex {
			t.Errorf("got %+v, want a permanent key that has changed", e)
		}
		time.Sleep(2 * time.Minute)
		if a.entry("other") == nil {
			t.Error("a key that was made permanent is gone")
		}
		rows, meta, err := a.KV().List(context.Background(), "k", nil)
		if len(rows) != 0 || err != nil || meta.Index <= created.ModifyIndex {
			t.Errorf("list after the expiry: got %d rows at %d, %v, want none after %d", len(rows), meta.Index, err, created.ModifyIndex)
		}
		took(t, "all", start, 0, 10*time.Minute)
	})
}

// A leader change begins every TTL anew: nothing goes early, and late by at most
// one TTL for each change.
func TestKeyTTLAcrossLeaderChanges(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		start := time.Now()
		a.putTTL("k", "v", 30*time.Second)
		time.Sleep(28 * time.Second)
		c.Leader().Restart()
		c.Leader()
		changed := time.Now()
		time.Sleep(20 * time.Second)
		if a.entry("k") == nil {
			t.Error("the key went early")
		}
		a.vanish("k")
		took(t, "the key after the change", changed, 25*time.Second, 31*time.Second)
		took(t, "the key", start, 30*time.Second, 65*time.Second)
	})
}

// A refresh that was logged before the expiry wins, however close: a key that
// somebody refreshes in time is always there.
func TestRefreshRacesExpiry(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		const ttl = time.Second
		random := rand.New(rand.NewPCG(1, 2))
		kept, lost := 0, 0
		var created uint64
		for range 120 {
			// Close to the end, on both sides of it.
			asked := time.Now()
			a.putTTL("k", "v", ttl)
			e := a.entry("k")
			if e == nil {
				if time.Since(asked) < ttl {
					t.Fatalf("the key was gone %v after a refresh", time.Since(asked))
				}
				continue
			}
			if e.CreateIndex == created {
				kept++
			} else {
				lost++
			}
			created = e.CreateIndex
			time.Sleep(ttl - 4*time.Millisecond + time.Duration(random.IntN(8000))*time.Microsecond)
		}
		t.Logf("refreshed in time %d times, too late %d times", kept, lost)
		if kept == 0 || lost < 2 {
			t.Errorf("refreshed in time %d times, too late %d times: want some of both", kept, lost)
		}
	})
}

// After a restore every TTL of the snapshot begins anew, also of keys that have
// expired since; keys and sessions that came later are gone.
func TestKeyTTLAcrossRestore(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		id := a.session(structs.Session{TTL: "30s", Expiry: structs.ExpiryExact, LockDelay: 20 * time.Second})
		held := a.session(structs.Session{LockDelay: 20 * time.Second})
		a.putTTL("short", "v", 10*time.Second)
		a.putTTL("long", "v", time.Minute)
		a.acquire("lock", id)
		a.acquire("delayed", held)
		a.Session().Destroy(context.Background(), held)
		var archive bytes.Buffer
		stream, _, err := c.Leader().SaveSnapshot(context.Background(), &structs.SnapshotRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&archive, stream); err != nil {
			t.Fatal(err)
		}
		stream.Close()
		a.gone(id)
		a.vanish("short")
		a.putTTL("later", "v", 2*time.Second)
		if err := c.Leader().RestoreSnapshot(context.Background(), &structs.SnapshotRequest{}, &archive); err != nil {
			t.Fatal(err)
		}
		restored := time.Now()
		if a.entry("later") != nil || a.entry("short") == nil || a.entry("long") == nil || a.alive(id) == nil {
			t.Error("want the keys and sessions of the snapshot, and no others")
		}
		if e := a.entry("lock"); e.Session != id {
			t.Errorf("got %+v, want the lock held again", e)
		}
		a.vanish("short")
		took(t, "the short key", restored, 9900*time.Millisecond, 10500*time.Millisecond)
		heir := a.session(structs.Session{})
		for !a.acquire("delayed", heir) {
			time.Sleep(100 * time.Millisecond)
		}
		took(t, "the lock delay", restored, 19900*time.Millisecond, 20500*time.Millisecond)
		a.gone(id)
		took(t, "the session", restored, 29900*time.Millisecond, 30500*time.Millisecond)
		a.vanish("long")
		took(t, "the long key", restored, 59900*time.Millisecond, 60500*time.Millisecond)
	})
}

// Many keys that expire at once all go, in good time, with no memory of those
// that were deleted or made permanent before.
func TestManyKeysExpire(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		const keys = 1500
		var writers sync.WaitGroup
		for i := range 30 {
			writers.Go(func() {
				for j := range keys / 30 {
					a.putTTL(fmt.Sprintf("k/%d/%d", i, j), "v", 5*time.Second+time.Duration(j%7)*time.Millisecond)
				}
			})
		}
		writers.Wait()
		start := time.Now()
		for i := range 10 {
			a.KV().Delete(context.Background(), fmt.Sprintf("k/0/%d", i))
			a.putTTL(fmt.Sprintf("k/1/%d", i), "v", 0)
		}
		time.Sleep(time.Until(start.Add(4 * time.Second)))
		testutil.Eventually(t, time.Minute, "the end of the keys", func() error {
			rows, _, err := a.KV().List(context.Background(), "k/", nil)
			if err == nil && len(rows) > 10 {
				err = fmt.Errorf("%d keys are still there", len(rows))
			}
			return err
		})
		took(t, "all of them", start, 4*time.Second, 7*time.Second)
		time.Sleep(time.Minute)
		if rows, _, err := a.KV().List(context.Background(), "k/", nil); len(rows) != 10 || err != nil {
			t.Errorf("got %d keys, %v, want the 10 permanent ones", len(rows), err)
		}
	})
}

// TTLs that no key can have are refused over RPC too, and nobody but the leader
// says that one is over.
func TestKeyTTLRefusals(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		for _, ttl := range []time.Duration{-time.Second, time.Nanosecond, 999 * time.Millisecond, 367 * 24 * time.Hour, 1<<63 - 1} {
			for _, op := range []structs.KVOp{structs.KVSet, structs.KVCAS, structs.KVLock, structs.KVUnlock} {
				if _, err := a.KV().Apply(context.Background(), op, structs.DirEntry{Key: "k", TTL: ttl}); !structs.IsCode(err, structs.Invalid) {
					t.Errorf("%s with TTL %v: got %v, want code Invalid", op, ttl, err)
				}
			}
		}
		if a.entry("k") != nil {
			t.Error("a refused set made a key")
		}
		a.putTTL("k", "v", time.Hour)
		_, err := a.KV().Apply(context.Background(), structs.KVExpire, structs.DirEntry{Key: "k", TTLIndex: a.entry("k").ModifyIndex})
		if !structs.IsCode(err, structs.Invalid) || err.Error() != "unknown KV operation: expire" {
			t.Errorf("expire by a client: got %v, want it refused as unknown", err)
		}
		if a.entry("k") == nil {
			t.Error("a client expired a key")
		}
	})
}

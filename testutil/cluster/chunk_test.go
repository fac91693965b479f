package cluster_test

import (
	"bytes"
	"testing"
	"time"

	raftchunking "github.com/hashicorp/go-raftchunking"
	"github.com/hashicorp/raft"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// largeValues raises the limit on values.
func largeValues(_ int, c *rpcserver.Config) { c.KVMaxValueSize = 4 << 20 }

var large = bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16)

func mustBeLarge(t testing.TB, n *cluster.Node, key string, how kind) {
	t.Helper()
	if got, err := get(n, key, how); err != nil || got != string(large) {
		t.Errorf("%s: got %d bytes of %s, %v, want %d", n.Config.NodeName, len(got), key, err, len(large))
	}
}

// A value too large for one raft entry is split and put together again, through
// snapshots and restarts.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		if err := c.Client().KV().Put(t.Context(), "large", large); err != nil {
			t.Fatal(err)
		}
		if err := put(c.Followers()[0], "too large", string(make([]byte, 4<<20+1))); !structs.IsCode(err, structs.TooLarge) {
			t.Errorf("a value over the limit: got %v, want code TooLarge", err)
		}
		ok := false
		cas := structs.KVSRequest{Op: structs.KVCAS, DirEnt: structs.DirEntry{Key: "large", Value: large[1:], RaftIndex: structs.RaftIndex{ModifyIndex: 1}}}
		if err := c.Followers()[0].Call(t.Context(), "KV.Apply", &cas, &ok); err != nil || ok {
			t.Errorf("a large cas with an old index: got %v, %v, want false", ok, err)
		}
		c.Agree()
		for _, n := range c.Up() {
			mustBeLarge(t, n, "large", stale)
			n.Restart()
		}
		for _, n := range c.Up() {
			mustBeLarge(t, n, "large", consistent)
		}
	}, largeValues)
}

// chunked sends a large write to a leader's raft part by part, and calls
// between before the last part, which goes nowhere if that stopped the leader.
func chunked(t testing.TB, leader *cluster.Node, key string, between func()) error {
	t.Helper()
	entry, err := structs.EncodeCommand(&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: key, Value: large}})
	if err != nil {
		t.Fatal(err)
	}
	node := leader.Raft()
	parts := 0
	future := raftchunking.ChunkingApply(entry, nil, 0, func(log raft.Log, d time.Duration) raft.ApplyFuture {
		if parts++; parts == 4 {
			if between(); leader.Server == nil {
				return lost{}
			}
		}
		sent := node.ApplyLog(log, d)
		if parts < 4 {
			if err := sent.Error(); err != nil {
				t.Errorf("part %d: %v", parts, err)
			}
		}
		return sent
	})
	return future.Error()
}

// lost is what becomes of a part that was sent to nobody.
type lost struct{ raft.ApplyFuture }

func (lost) Error() error { return raft.ErrRaftShutdown }

// Servers that start from a snapshot that was taken between two parts join the
// parts all the same.
func TestSnapshotBetweenChunks(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		crashed, fresh := c.Followers()[0], c.Add()
		err := chunked(t, c.Leader(), "large", func() {
			c.Agree()
			for _, n := range c.Up() {
				if err := n.Raft().Snapshot().Error(); err != nil {
					t.Errorf("snapshot: %v", err)
				}
			}
			crashed.Restart()
			fresh.Start()
			fresh.Join(c.Leader())
			time.Sleep(5 * time.Second)
		})
		if err != nil {
			t.Fatalf("the last part: %v", err)
		}
		c.Agree()
		for _, n := range c.Up() {
			mustBeLarge(t, n, "large", stale)
		}
	}, largeValues, smallLogs)
}

// When the leader dies between two parts the write never happened, and what
// there was of it is in nobody's way.
func TestLeaderCrashesBetweenChunks(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		old := c.Leader()
		if err := chunked(t, old, "large", old.Crash); err == nil {
			t.Error("the last part was taken by a dead leader")
		}
		if got := c.Get("large"); got != "" {
			t.Errorf("got %d bytes of a write that never ended", len(got))
		}
		if err := c.Client().KV().Put(t.Context(), "large", large); err != nil {
			t.Fatal(err)
		}
		old.Start()
		c.Agree()
		mustBeLarge(t, old, "large", stale)
	}, largeValues)
}

package cluster_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver"
	"praetor/rpcserver/wire"
	"praetor/testutil"
	"praetor/testutil/cluster"
	"praetor/testutil/vnet"
)

// raftStreams dials the raft of one server from a host.
type raftStreams struct {
	net.Listener
	host *vnet.Host
	id   string
}

func (s raftStreams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.host.Dial(ctx, string(to))
	if err != nil {
		return nil, err
	}
	_, err = conn.Write(append([]byte{wire.ByteRaft, byte(len(s.id))}, s.id...))
	return conn, err
}

// sendSnapshot sends a server the newest snapshot of the leader as raft does, in
// the name of the leader of a term.
func sendSnapshot(t *testing.T, c *cluster.Cluster, to *cluster.Node, term uint64) (reply raft.InstallSnapshotResponse, index uint64) {
	t.Helper()
	leader := c.Leader()
	host := c.Net.Host(leader.IP)
	listener, err := host.Listen(leader.IP + ":9999")
	if err != nil {
		t.Fatal(err)
	}
	transport := raft.NewNetworkTransportWithLogger(raftStreams{listener, host, to.Config.NodeID}, 1, time.Second, testutil.Logger(t, "sender"))
	defer transport.CloseStreams()
	defer transport.Close()
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(filepath.Join(leader.Config.DataDir, "raft"), 2, testutil.Logger(t, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := snapshots.List()
	if err != nil || len(list) == 0 {
		t.Fatalf("the leader's snapshots: %v, %v", list, err)
	}
	meta, state, err := snapshots.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	q := &raft.InstallSnapshotRequest{
		RPCHeader:       raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader.Config.NodeID), Addr: []byte(leader.IP + ":8300")},
		SnapshotVersion: meta.Version, Term: term, Leader: []byte(leader.IP + ":8300"),
		LastLogIndex: meta.Index, LastLogTerm: meta.Term, Size: meta.Size,
		Configuration: raft.EncodeConfiguration(meta.Configuration), ConfigurationIndex: meta.ConfigurationIndex,
	}
	address := raft.ServerAddress(to.IP + ":8300")
	if err := transport.InstallSnapshot(raft.ServerID(to.Config.NodeID), address, q, &reply, state); err != nil {
		t.Fatal(err)
	}
	return reply, meta.Index
}

// A snapshot that comes late, when the server has followed far beyond it, takes
// nothing back: neither the state nor entries that the server has acknowledged.
func TestLateSnapshot(t *testing.T) {
	t.Parallel()
	for _, store := range backends {
		for _, compacted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, compacted %v", store, compacted), func(t *testing.T) {
				t.Parallel()
				trailing := uint64(1000)
				if compacted {
					trailing = 8
				}
				story(t, 3, func(t *testing.T, c *cluster.Cluster) {
					c.Put("k", "old")
					c.Agree()
					term := c.Leader().Raft().CurrentTerm()
					if err := c.Leader().Raft().Snapshot().Error(); err != nil {
						t.Fatal(err)
					}
					for i := range 40 {
						c.Put(fmt.Sprintf("more/%d", i), "1")
					}
					c.Agree()
					late := c.Followers()[0]
					if compacted {
						if err := late.Raft().Snapshot().Error(); err != nil {
							t.Fatal(err)
						}
					}
					c.Put("k", "new")
					c.Agree()
					last := late.Raft().AppliedIndex()

					reply, index := sendSnapshot(t, c, late, term)
					if _, err := late.Entry(index); (err != nil) != compacted || index >= last {
						t.Errorf("entry %d of the snapshot: %v; the server had come to %d: this shows nothing", index, err, last)
					}
					if reply.Success == compacted || reply.Term != term { // only with that entry can it take the next
						t.Errorf("the answer is %+v", reply)
					}
					if at := late.Raft().AppliedIndex(); at < last {
						t.Errorf("the server went back from entry %d to %d", last, at)
					}
					if _, err := late.Entry(last); err != nil {
						t.Errorf("an entry that the server has acknowledged is gone: %v", err)
					}
					mustGet(t, late, "k", stale, "new")

					if reply, _ := sendSnapshot(t, c, late, term-1); reply.Success || reply.Term != term {
						t.Errorf("the answer to a leader of an earlier term is %+v", reply)
					}
					c.Put("k", "newer")
					c.Agree()
					late.Restart()
					c.Agree()
				}, backend(store), func(_ int, c *rpcserver.Config) {
					c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval, c.Raft.TrailingLogs = 1<<30, time.Hour, trailing
				})
			})
		}
	}
}

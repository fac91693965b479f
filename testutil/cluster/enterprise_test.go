package cluster_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/fsm/archive"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// Through a follower, over the snapshot RPC, the leader is told to leave out the
// records of Consul Enterprise, and its count of them comes back.
func TestEnterpriseRecordsAreLeftOutOverRPC(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		var stream, with bytes.Buffer
		meta, err := archive.Read(bytes.NewReader(save(t, c.Leader())), &stream)
		if err != nil {
			t.Fatal(err)
		}
		stream.Write([]byte{70, 0xc0, 65, 0x01, 70, 0x02})
		meta.Size = int64(stream.Len())
		if err := archive.Write(&with, meta, &stream); err != nil {
			t.Fatal(err)
		}
		c.Put("since", "1")
		follower := c.Followers()[0]
		if err := restore(follower, with.Bytes()); !structs.IsCode(err, structs.Unsupported) {
			t.Errorf("without being told to: got %v, want code Unsupported", err)
		}
		if c.Leader().FSM().Store().Read().KV("since") == nil {
			t.Error("a refused archive changed the cluster")
		}
		dropped, err := follower.RestoreSnapshotReport(t.Context(), &structs.SnapshotRequest{SkipEnterprise: true}, &with)
		if diff := cmp.Diff(structs.Dropped{65: 1, 70: 2}, dropped); err != nil || diff != "" {
			t.Errorf("dropped: %v %s", err, diff)
		}
		c.Agree()
		for _, n := range c.Nodes {
			if r := n.FSM().Store().Read(); r.KV("k") == nil || r.KV("since") != nil {
				t.Errorf("%s has not the restored state", n.Config.NodeName)
			}
		}
	})
}

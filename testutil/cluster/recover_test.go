package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/recovery"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// dirsOf are the data directories of servers that are down. In a cluster of
// processes the agent writes node-id, here it is the test.
func dirsOf(t testing.TB, nodes ...*cluster.Node) (dirs []string) {
	t.Helper()
	for _, n := range nodes {
		write(t, filepath.Join(n.Config.DataDir, "node-id"), n.Config.NodeID+"\n")
		dirs = append(dirs, n.Config.DataDir)
	}
	return dirs
}

// planFor does what "praetor operator recover" does before it writes.
func planFor(t testing.TB, o recovery.Options, dirs ...string) (*recovery.Plan, error) {
	t.Helper()
	survivors, err := recovery.ReadAll(dirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { recovery.CloseAll(survivors) })
	return recovery.New(survivors, o)
}

// recoverFrom recovers with the survivors, which are down.
func recoverFrom(t testing.TB, o recovery.Options, nodes ...*cluster.Node) *recovery.Plan {
	t.Helper()
	p, err := planFor(t, o, dirsOf(t, nodes...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	recovery.CloseAll(p.Survivors)
	return p
}

func wantLosses(t testing.TB, p *recovery.Plan, parts ...string) {
	t.Helper()
	text := strings.Join(p.Losses(), "\n")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("of losses it does not say %q but:\n%s", part, text)
		}
	}
}

func wal(_ int, c *rpcserver.Config) { c.Raft.Backend = "wal" }

// grow adds new servers to a cluster until it has them as voters.
func grow(t testing.TB, c *cluster.Cluster, from *cluster.Node, n int, options ...cluster.Option) {
	t.Helper()
	for range n {
		node := c.Add(options...)
		node.Start()
		node.Join(from)
		awaitSuffrage(t, c, node, true)
	}
}

// One of three is left, with either backend, with a log and with snapshots.
func TestRecoverOneOfThree(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]cluster.Option{
		"boltdb": nil, "wal": {wal}, "snapshots": {smallLogs}, "wal with snapshots": {wal, smallLogs},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				for i := range 80 {
					c.Put(fmt.Sprintf("k/%d", i), "v")
				}
				c.Agree()
				time.Sleep(3 * time.Second) // for a snapshot
				last := c.Followers()[0]
				written := time.Now()
				time.Sleep(time.Second)
				c.Put("last", "v")
				time.Sleep(time.Second) // for the follower to have it
				index := last.Raft().LastIndex()
				for _, n := range c.Nodes {
					n.Crash()
				}

				p := recoverFrom(t, recovery.Options{}, last)
				s := p.Best
				if s.ID != last.Config.NodeID || s.LastIndex != index || len(s.Servers) != 3 || s.Cluster == "" || p.Voters != 3 || p.Left != 1 || len(p.Gone) != 2 {
					t.Errorf("got %+v, %d of %d voters left, want index %d", s, p.Left, p.Voters, index)
				}
				if s.LastTime.Before(written) {
					t.Errorf("the last entry is of %v, want after %v", s.LastTime, written)
				}
				if snapshots := strings.Contains(name, "snapshots"); (len(s.Snapshots) > 0) != snapshots {
					t.Errorf("snapshots: %+v, want some: %v", s.Snapshots, snapshots)
				}
				wantLosses(t, p, "is on at least 2 of the 3 voters", "Writes acknowledged after "+s.LastTime.UTC().Format(time.RFC3339Nano)+" may be lost")

				last.Start()
				if got := c.Get("last"); got != "v" {
					t.Errorf("got %q, want v", got)
				}
				if got := len(last.FSM().Store().Read().KVTree("k/")); got != 80 {
					t.Errorf("%d keys, want 80", got)
				}
				if last.FSM().Store().Read().MetadataValue(structs.ClusterIDKey) != s.Cluster {
					t.Errorf("the cluster is not %s any more", s.Cluster)
				}
				grow(t, c, last, 2, options...)
				last.Crash()
				if got := c.Get("last"); got != "v" {
					t.Errorf("got %q from the new servers, want v", got)
				}
				last.Start()
			}, options...)
		})
	}
}

// Two of five are left, one of them behind. It cannot lead, whoever is started
// first, and it cannot be chosen unless in words.
func TestRecoverTwoOfFive(t *testing.T) {
	t.Parallel()
	story(t, 5, func(t *testing.T, c *cluster.Cluster) {
		c.Put("early", "v")
		c.Agree()
		behind := c.Followers()[0]
		behind.Crash()
		for i := range 20 {
			c.Put(fmt.Sprintf("late/%d", i), "v")
		}
		c.Agree()
		best := c.Followers()[0]
		for _, n := range c.Up() {
			n.Crash()
		}

		dirs := dirsOf(t, behind, best)
		refused, err := planFor(t, recovery.Options{Choose: behind.Config.NodeID}, dirs...)
		if !structs.IsCode(err, structs.Conflict) || refused.Losing < 20 || !strings.Contains(err.Error(), fmt.Sprintf("-i-accept-losing-entries=%d", refused.Losing)) {
			t.Errorf("to choose the one behind: got %v, losing %d", err, refused.Losing)
		}
		recovery.CloseAll(refused.Survivors)
		accepted, err := planFor(t, recovery.Options{Choose: behind.Config.NodeID, AcceptLosing: refused.Losing}, dirs...)
		if err != nil || len(accepted.Peers) != 2 || accepted.Peers[0].NonVoter || !accepted.Peers[1].NonVoter {
			t.Errorf("to choose it and say so: got %+v, %v", accepted.Peers, err)
		}
		wantLosses(t, accepted, fmt.Sprintf("%d entries that server %s", refused.Losing, best.Config.NodeID))
		recovery.CloseAll(accepted.Survivors)

		p := recoverFrom(t, recovery.Options{}, behind, best)
		if p.Best.ID != best.Config.NodeID || !strings.HasPrefix(p.Compared(p.Survivors[0]), fmt.Sprintf("behind by %d", refused.Losing)) {
			t.Errorf("the best is %s, the other %s", p.Best.ID, p.Compared(p.Survivors[0]))
		}
		behind.Start()
		time.Sleep(time.Minute)
		if behind.IsLeader() {
			t.Error("the one that is behind leads")
		}
		best.Start()
		behind.Join(best)
		for i := range 20 {
			if got := c.Get(fmt.Sprintf("late/%d", i)); got != "v" {
				t.Errorf("late/%d: got %q, want v", i, got)
			}
		}
		awaitSuffrage(t, c, behind, true)
		grow(t, c, best, 3)
		best.Crash()
		c.Put("after", "v")
		best.Start()
	})
}

// A leader that was cut off has entries that nobody else has, more than the
// others: of an older term, so they do not count, and go.
func TestRecoverDiverged(t *testing.T) {
	t.Parallel()
	story(t, 5, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "before")
		c.Agree()
		old := c.Leader()
		isolate(c, old)
		for i := range 30 { // into its log, at once, before it steps down
			entry, err := structs.EncodeCommand(&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: fmt.Sprintf("never/%d", i)}})
			if err != nil {
				t.Fatal(err)
			}
			old.Raft().Apply(entry, time.Second)
		}
		time.Sleep(10 * time.Second)
		rest := others(c, old)
		testutil.Eventually(t, time.Minute, "a write without the old leader", func() error { return put(rest[0], "k", "after") })
		time.Sleep(time.Second)
		for _, n := range c.Up() {
			n.Crash()
		}
		c.Net.Heal()

		p := recoverFrom(t, recovery.Options{}, old, rest[0])
		if p.Best.ID != rest[0].Config.NodeID || p.Survivors[0].LastIndex <= p.Best.LastIndex {
			t.Errorf("the best is %s with index %d, the other has %d", p.Best.ID, p.Best.LastIndex, p.Survivors[0].LastIndex)
		}
		if got := p.Compared(p.Survivors[0]); !strings.Contains(got, "30 of an older term that no leader kept") {
			t.Errorf("the old leader compared: %s", got)
		}
		old.Start()
		rest[0].Start()
		old.Join(rest[0])
		if got := c.Get("k"); got != "after" {
			t.Errorf("got %q, want after", got)
		}
		awaitSuffrage(t, c, old, true)
		c.Agree()
		if keys := old.FSM().Store().Read().KVTree("never/"); len(keys) > 0 {
			t.Errorf("%d writes that nobody acknowledged have come back", len(keys))
		}
	})
}

// With two of four, no acknowledged write can be elsewhere alone. Both are the
// same, so both vote. And three of four need no recovery.
func TestRecoverHalf(t *testing.T) {
	t.Parallel()
	story(t, 4, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		c.Agree()
		for _, n := range c.Nodes {
			n.Crash()
		}
		dirs := dirsOf(t, c.Nodes...)
		p, err := planFor(t, recovery.Options{}, dirs[:3]...)
		if !structs.IsCode(err, structs.Conflict) || !strings.Contains(err.Error(), "is a majority") {
			t.Errorf("three of four: got %v", err)
		}
		recovery.CloseAll(p.Survivors)
		p = recoverFrom(t, recovery.Options{}, c.Nodes[1:3]...)
		wantLosses(t, p, "No acknowledged write is lost")
		if p.Peers[0].NonVoter || p.Peers[1].NonVoter {
			t.Errorf("got %s, want two voters", p.JSON())
		}
		c.Nodes[1].Start()
		c.Nodes[2].Start()
		if got := c.Get("k"); got != "v" {
			t.Errorf("got %q, want v", got)
		}
	})
}

// Only a read replica is left: it gets the vote.
func TestRecoverReplicaOnly(t *testing.T) {
	t.Parallel()
	story(t, 4, func(t *testing.T, c *cluster.Cluster) {
		replica := c.Nodes[3]
		awaitSuffrage(t, c, replica, false)
		c.Put("k", "v")
		c.Agree()
		for _, n := range c.Nodes {
			n.Crash()
		}
		p := recoverFrom(t, recovery.Options{}, replica)
		wantLosses(t, p, "Only servers without a vote are left")
		if p.Left != 0 || p.Voters != 3 || p.Peers[0].NonVoter {
			t.Errorf("%d of %d voters left, %s", p.Left, p.Voters, p.JSON())
		}
		replica.Config.ReadReplica = false
		replica.Start()
		if got := c.Get("k"); got != "v" {
			t.Errorf("got %q, want v", got)
		}
		grow(t, c, replica, 2)
	}, voters(3), replicas(3))
}

// A survivor on another machine is known from its report, and is not written to.
func TestRecoverAcrossMachines(t *testing.T) {
	t.Parallel()
	story(t, 5, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		c.Agree()
		for _, n := range c.Nodes {
			n.Crash()
		}
		here, there := c.Nodes[0], c.Nodes[1]
		remote, err := recovery.ReadAll(dirsOf(t, there))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := recovery.WriteReport(&text, remote); err != nil {
			t.Fatal(err)
		}
		recovery.CloseAll(remote)
		file := filepath.Join(t.TempDir(), "there.json")
		write(t, file, text.String())

		p, err := planFor(t, recovery.Options{}, append(dirsOf(t, here), file)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Write(); err != nil {
			t.Fatal(err)
		}
		recovery.CloseAll(p.Survivors)
		if _, err := os.Stat(peersJSON(there)); !os.IsNotExist(err) || !p.Survivors[1].Remote() {
			t.Errorf("the other machine was written to: %v", err)
		}
		write(t, peersJSON(there), p.JSON())
		here.Start()
		there.Start()
		if got := c.Get("k"); got != "v" {
			t.Errorf("got %q, want v", got)
		}
	})
}

// What does not belong together, or is not what it should be, is refused.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	story(t, 5, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		c.Agree()
		member := c.Nodes[1]
		lonely := c.Stranger("10.0.9.1", func(_ int, config *rpcserver.Config) {
			config.Bootstrap, config.NodeName, config.NodeID = true, "lonely", "99999999-0000-0000-0000-000000000000"
		})
		lonely.Start()
		testutil.Eventually(t, time.Minute, "a second cluster", func() error { return put(lonely, "k", "w") })
		time.Sleep(time.Second)
		lonely.Crash()
		lost := c.Nodes[0]
		for _, n := range c.Nodes {
			n.Crash()
		}

		dirs := dirsOf(t, member, lonely)
		mixed, err := planFor(t, recovery.Options{}, dirs...)
		recovery.CloseAll(mixed.Survivors)
		if !structs.IsCode(err, structs.Conflict) || !strings.Contains(err.Error(), "recover them apart") {
			t.Errorf("two clusters: got %v", err)
		}
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(member.Config.DataDir)); err != nil {
			t.Fatal(err)
		}
		twice, err := planFor(t, recovery.Options{}, dirs[0], copied)
		recovery.CloseAll(twice.Survivors)
		if !structs.IsCode(err, structs.Invalid) || !strings.Contains(err.Error(), "are the same server") {
			t.Errorf("the same server twice: got %v", err)
		}
		write(t, filepath.Join(copied, "node-id"), "88888888-0000-0000-0000-000000000000")
		stranger, err := planFor(t, recovery.Options{}, dirs[0], copied)
		recovery.CloseAll(stranger.Survivors)
		if !structs.IsCode(err, structs.Conflict) || !strings.Contains(err.Error(), "is not in the raft configuration") {
			t.Errorf("a server that is no member: got %v", err)
		}
		nobody, err := planFor(t, recovery.Options{Choose: lost.Config.NodeID}, dirs[0])
		recovery.CloseAll(nobody.Survivors)
		if !structs.IsCode(err, structs.Invalid) {
			t.Errorf("to choose one that was not given: got %v", err)
		}
		needless, err := planFor(t, recovery.Options{AcceptLosing: 7}, dirs[0])
		recovery.CloseAll(needless.Survivors)
		if !structs.IsCode(err, structs.Invalid) || !strings.Contains(err.Error(), "nothing is lost that could be kept") {
			t.Errorf("losses accepted where there are none: got %v", err)
		}
		moved := recovery.Options{Addresses: map[string]string{member.Config.NodeID: "10.0.0.77:8300"}}
		p, err := planFor(t, moved, dirs[0])
		recovery.CloseAll(p.Survivors)
		if err != nil || p.Peers[0].Address != "10.0.0.77:8300" {
			t.Errorf("a server that has moved: got %+v, %v", p.Peers, err)
		}
		if _, err := os.Stat(peersJSON(member)); !os.IsNotExist(err) {
			t.Errorf("a refused plan has written: %v", err)
		}
		for _, n := range c.Nodes {
			n.Start()
		}
		c.Nodes[0].Join(c.Nodes[1])
	})
}

package cluster_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"praetor/testutil/cluster"
)

// peersJSON is where a node looks for an operator's list of servers.
func peersJSON(n *cluster.Node) string { return filepath.Join(n.Config.DataDir, "raft", "peers.json") }

// writePeers writes the same list of servers for all of them.
func writePeers(t testing.TB, nodes ...*cluster.Node) {
	t.Helper()
	var list []map[string]any
	for _, n := range nodes {
		list = append(list, map[string]any{"id": n.Config.NodeID, "address": n.IP + ":8300"})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		write(t, peersJSON(n), string(text))
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Two of three servers are gone for good. The third goes on with peers.json,
// and new ones join it.
func TestRecoveryWithPeersJSON(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		for _, key := range []string{"a", "b", "c"} {
			c.Put(key, "v")
		}
		c.Agree()
		before, _ := read(t.Context(), c.Leader(), "c", plain.options())
		last := c.Followers()[0]
		for _, n := range c.Nodes {
			n.Crash()
		}

		write(t, peersJSON(last), `[{"id": "`)
		if err := last.TryStart(); err == nil || !strings.Contains(err.Error(), peersJSON(last)) {
			t.Errorf("a malformed peers.json: got %v, want an error that names it", err)
		}
		write(t, peersJSON(last), `[]`)
		if err := last.TryStart(); err == nil {
			t.Error("an empty peers.json was taken")
		}
		if _, err := os.Stat(peersJSON(last)); err != nil {
			t.Errorf("a refused peers.json is gone: %v", err)
		}

		writePeers(t, last)
		last.Start()
		if _, err := os.Stat(peersJSON(last)); !os.IsNotExist(err) {
			t.Errorf("peers.json is still there: %v", err)
		}
		c.Put("d", "v")
		after, err := read(t.Context(), last, "c", consistent.options())
		if err != nil || after.Entries[0].ModifyIndex != before.Entries[0].ModifyIndex {
			t.Errorf("after: %+v, %v, want the key as it was at %d", after.Entries, err, before.Entries[0].ModifyIndex)
		}
		for range 2 {
			n := c.Add()
			n.Start()
			n.Join(last)
			awaitSuffrage(t, c, n, true)
		}
		last.Crash()
		if got := c.Get("d"); got != "v" {
			t.Errorf("got %q from the new servers, want v", got)
		}
	})
}

// Two servers are left of five and go on as two.
func TestRecoveryOfTwo(t *testing.T) {
	t.Parallel()
	story(t, 5, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "v")
		c.Agree()
		for _, n := range c.Nodes {
			n.Crash()
		}
		left := c.Nodes[3:]
		writePeers(t, left...)
		for _, n := range left {
			n.Start()
		}
		if got := c.Get("k"); got != "v" {
			t.Errorf("got %q, want v", got)
		}
		c.Put("k", "w")
	})
}

// On a first start peers.json cannot be meant for this server: it goes unread.
func TestPeersJSONOnFirstStart(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		n := c.Add(voters(0))
		write(t, peersJSON(n), "not even JSON")
		n.Start()
		if _, err := os.Stat(peersJSON(n)); !os.IsNotExist(err) {
			t.Errorf("peers.json is still there: %v", err)
		}
		n.Join(c.Leader())
		awaitSuffrage(t, c, n, true)
	})
}

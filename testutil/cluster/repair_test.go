package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// spoil flips bits in a file of a node's raft directory where it finds the text.
func spoil(t *testing.T, file, text string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := []byte(strings.ReplaceAll(string(content), text, strings.ToUpper(text)))
	if string(spoilt) == string(content) {
		t.Fatalf("%s does not have %q", file, text)
	}
	if err := os.WriteFile(file, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
}

func raftDB(n *cluster.Node) string { return filepath.Join(n.Config.DataDir, "raft", "raft.db") }

// zeroHeaders damages the structure: it clears the header of every page but the
// meta pages and the root.
func zeroHeaders(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for at := 2 * page; at+page <= len(content); at += page {
		if !strings.Contains(string(content[at:at+page]), "Checksums") {
			clear(content[at : at+16])
		}
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A follower whose log or snapshot is damaged gets all of it from its leader,
// keeps what was damaged, and takes part as before.
func TestFollowerRepairsItself(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, n *cluster.Node){
		"an entry":  func(t *testing.T, n *cluster.Node) { spoil(t, raftDB(n), "value-99") },
		"the pages": func(t *testing.T, n *cluster.Node) { zeroHeaders(t, raftDB(n)) },
		"a snapshot": func(t *testing.T, n *cluster.Node) {
			for _, dir := range snapshotDirs(t, n.Config.DataDir) {
				spoil(t, filepath.Join(dir, "state.bin"), "value-1")
			}
		},
		"both": func(t *testing.T, n *cluster.Node) {
			spoil(t, raftDB(n), "value-99")
			for _, dir := range snapshotDirs(t, n.Config.DataDir) {
				spoil(t, filepath.Join(dir, "meta.json"), "e")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				for i := range 100 {
					c.Put(fmt.Sprint("k", i), fmt.Sprint("value-", i))
					if i%40 == 39 {
						time.Sleep(5 * time.Second)
					}
				}
				c.Agree()
				n := c.Followers()[0]
				n.Crash()
				damage(t, n)
				n.Start()
				c.Put("after", "v")
				c.Agree()
				kept, _ := filepath.Glob(raftDB(n) + ".damaged-*")
				if len(kept) != 1 {
					t.Errorf("kept: %v", kept)
				}
				for _, other := range others(c, n) { // it votes again
					if !other.IsLeader() {
						other.Crash()
					}
				}
				c.Put("with its vote", "v")
				n.Restart() // nothing is left to mend
				c.Put("with its vote", "w")
				if again, _ := filepath.Glob(raftDB(n) + ".damaged-*"); len(again) != 1 {
					t.Errorf("kept: %v", again)
				}
			}, smallLogs, sealed)
		})
	}
}

// A server that has lost entries gives its vote to nobody who may lack them.
func TestNoVoteWithoutMemory(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		c.Put("k", "old")
		c.Agree()
		leader := c.Leader()
		behind, spoilt := c.Followers()[0], c.Followers()[1]
		behind.Crash()
		c.Put("k", "value-new") // on two servers
		c.Put("k2", "v")
		spoilt.Crash()
		leader.Crash()
		spoil(t, raftDB(spoilt), "value-new")
		behind.Start()
		spoilt.Start()
		for range 60 {
			time.Sleep(time.Second)
			for _, n := range c.Up() {
				if n.IsLeader() {
					t.Fatalf("%s leads without what was acknowledged", n.Config.NodeName)
				}
			}
		}
		spoilt.Restart() // it does not forget that it has no vote
		time.Sleep(time.Minute)
		if behind.IsLeader() || spoilt.IsLeader() {
			t.Fatal("a restart has given the vote back")
		}
		leader.Start()
		if got := c.Get("k"); got != "value-new" {
			t.Errorf("got %q", got)
		}
		c.Agree()
		behind.Crash()
		c.Put("k", "newer") // spoilt has its vote back, and its part in commits
		mustGet(t, c.Leader(), "k", consistent, "newer")
		behind.Start()
	}, sealed)
}

// A server that has nobody to ask says what is damaged and what to do.
func TestLoneServerSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		n := c.Nodes[0]
		c.Put("k", "value-1")
		n.Crash()
		good, err := os.ReadFile(raftDB(n))
		if err != nil {
			t.Fatal(err)
		}
		spoil(t, raftDB(n), "value-1")
		for range 2 {
			err = n.TryStart()
			if !structs.IsCode(err, structs.Corrupt) || !strings.Contains(err.Error(), "praetor snapshot restore") {
				t.Errorf("got %v", err)
			}
		}
		t.Log(err)
		if err := os.WriteFile(raftDB(n), good, 0o600); err != nil {
			t.Fatal(err)
		}
		n.Start()
		testutil.Eventually(t, time.Minute, "the key", func() error {
			if got, err := get(n, "k", consistent); err != nil || got != "value-1" {
				return fmt.Errorf("got %q, %v", got, err)
			}
			return nil
		})
	}, sealed, func(_ int, c *rpcserver.Config) { c.BootstrapExpect = 1 })
}

// sealed gives the servers a raft log with checksums.
func sealed(_ int, c *rpcserver.Config) { c.Raft.Backend = "sealed" }

// A server may be given checksums at any time; what has them is not opened by
// what would write without.
func TestSwitchToSealed(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		n := c.Nodes[0]
		c.Put("before", "1")
		n.Stop()
		n.Config.Raft.Backend = "sealed"
		n.Start()
		c.Leader()
		mustGet(t, n, "before", consistent, "1")
		c.Put("after", "2")
		n.Stop()
		n.Config.Raft.Backend = "boltdb"
		if err := n.TryStart(); err == nil || !strings.Contains(err.Error(), "raft_logstore.backend") {
			t.Errorf("got %v, want the key that helps", err)
		}
		n.Config.Raft.Backend = "sealed"
		n.Start()
		c.Leader()
		mustGet(t, n, "after", consistent, "2")
	}, func(_ int, c *rpcserver.Config) { c.BootstrapExpect = 1 })
}

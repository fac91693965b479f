package cluster_test

import (
	"errors"
	"fmt"
	"io/fs"
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

// spoil flips bits in a file, or in all of a directory, where it finds the text.
func spoil(t *testing.T, path, text string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		spoilt := strings.ReplaceAll(string(content), text, strings.ToUpper(text))
		if spoilt == string(content) {
			return nil
		}
		found = true
		f, err := os.OpenFile(file, os.O_WRONLY, 0) // the same file, if the server runs
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(spoilt), 0)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		t.Fatalf("%s does not have %q", path, text)
	}
}

var backends = []string{"boltdb", "wal"}

// backend gives the servers this log store.
func backend(name string) cluster.Option {
	return func(_ int, c *rpcserver.Config) { c.Raft.Backend = name }
}

// raftLog is where a node's log is.
func raftLog(n *cluster.Node) string {
	if n.Config.Raft.Backend == "wal" {
		return filepath.Join(n.Config.DataDir, "raft", "wal")
	}
	return filepath.Join(n.Config.DataDir, "raft", "raft.db")
}

// wreck damages the structure of a log: of raft.db it clears the header of every
// page but the meta pages, and of raft-wal's segments it leaves next to nothing.
func wreck(t *testing.T, path string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(path, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range segments {
		if err := os.Truncate(file, 100); err != nil {
			t.Fatal(err)
		}
	}
	if len(segments) > 0 {
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for at := 2 * page; at+page <= len(content); at += page {
		clear(content[at : at+16])
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A follower whose log or snapshot is damaged gets all of it from its leader,
// keeps what was damaged, and takes part as before.
func TestFollowerRepairsItself(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, n *cluster.Node){
		"an entry":  func(t *testing.T, n *cluster.Node) { spoil(t, raftLog(n), "value-99") },
		"the pages": func(t *testing.T, n *cluster.Node) { wreck(t, raftLog(n)) },
		"a snapshot": func(t *testing.T, n *cluster.Node) {
			for _, dir := range snapshotDirs(t, n.Config.DataDir) {
				spoil(t, filepath.Join(dir, "state.bin"), "value-1")
			}
		},
		"both": func(t *testing.T, n *cluster.Node) {
			spoil(t, raftLog(n), "value-99")
			for _, dir := range snapshotDirs(t, n.Config.DataDir) {
				spoil(t, filepath.Join(dir, "meta.json"), "e")
			}
		},
	} {
		for _, store := range backends {
			t.Run(store+"/"+name, func(t *testing.T) {
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
					kept, _ := filepath.Glob(raftLog(n) + ".damaged-*")
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
					if again, _ := filepath.Glob(raftLog(n) + ".damaged-*"); len(again) != 1 {
						t.Errorf("kept: %v", again)
					}
				}, smallLogs, backend(store))
			})
		}
	}
}

// A server that has lost entries gives its vote to nobody who may lack them.
func TestNoVoteWithoutMemory(t *testing.T) {
	t.Parallel()
	for _, store := range backends {
		t.Run(store, func(t *testing.T) {
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
				spoil(t, raftLog(spoilt), "value-new")
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
				if spoilt.Alarms()["raft.log.repairing"] != 1 || behind.Alarms()["raft.log.repairing"] != 0 {
					t.Error("the gauge raft.log.repairing is wrong")
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
				testutil.Eventually(t, 10*time.Second, "the end of the repair", func() error {
					if spoilt.Alarms()["raft.log.repairing"] != 0 {
						return errors.New("the gauge raft.log.repairing stays")
					}
					return nil
				})
				behind.Start()
			}, backend(store))
		})
	}
}

// A server that has nobody to ask says what is damaged and what to do.
func TestLoneServerSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	for _, store := range backends {
		story(t, 1, func(t *testing.T, c *cluster.Cluster) {
			n := c.Nodes[0]
			c.Put("k", "value-1")
			n.Crash()
			good := filepath.Join(t.TempDir(), "good")
			if err := os.CopyFS(good, os.DirFS(n.Config.DataDir)); err != nil {
				t.Fatal(err)
			}
			spoil(t, raftLog(n), "value-1")
			for range 2 {
				err := n.TryStart()
				if !structs.IsCode(err, structs.Corrupt) || !strings.Contains(err.Error(), "praetor snapshot restore") {
					t.Errorf("got %v", err)
				}
				t.Log(err)
			}
			n.Config.DataDir = good
			n.Start()
			testutil.Eventually(t, time.Minute, "the key", func() error {
				if got, err := get(n, "k", consistent); err != nil || got != "value-1" {
					return fmt.Errorf("got %q, %v", got, err)
				}
				return nil
			})
		}, backend(store), func(_ int, c *rpcserver.Config) { c.BootstrapExpect = 1 })
	}
}

// A server goes on with the log it has, unless it is told another backend: then it
// says how to get there, and that works.
func TestChangeOfBackend(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		n := c.Nodes[0]
		c.Put("before", "1")
		n.Stop()
		n.Config.Raft.Backend = "wal"
		err := n.TryStart()
		if !structs.IsCode(err, structs.Invalid) || !strings.Contains(err.Error(), "praetor operator raft convert -to=wal "+n.Config.DataDir) {
			t.Errorf("got %v, want the command that helps", err)
		}
		for _, to := range backends[1:] {
			if err := os.WriteFile(filepath.Join(n.Config.DataDir, "node-id"), []byte(n.Config.NodeID), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := recovery.Convert(n.Config.DataDir, to, false); err != nil {
				t.Fatal(err)
			}
			n.Config.Raft.Backend = ""
			n.Start()
			c.Leader()
			mustGet(t, n, "before", consistent, "1")
			c.Put("after", to)
			n.Stop()
		}
		n.Start()
		c.Leader()
		mustGet(t, n, "after", consistent, "wal")
	}, func(_ int, c *rpcserver.Config) { c.BootstrapExpect, c.Raft.Backend = 1, "boltdb" })
}

// An old entry is damaged while the leader runs. A follower that needs it gets a
// snapshot instead, which the leader takes for that, and nobody loses anything.
func TestDamageUnderALeader(t *testing.T) {
	t.Parallel()
	for _, store := range backends {
		story(t, 3, func(t *testing.T, c *cluster.Cluster) {
			behind := c.Followers()[0]
			behind.Crash()
			leader := c.Leader()
			for i := range 600 { // more than raft keeps in memory
				if err := put(leader, fmt.Sprint("k", i), fmt.Sprint("value-", i)); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range c.Up() {
				spoil(t, raftLog(n), "value-9")
			}
			behind.Start()
			c.Agree()
			mustGet(t, behind, "k9", stale, "value-9")
			if c.Leader() != leader {
				t.Error("leadership has moved")
			}
			if leader.Alarms()["raft.log.damaged"] == 0 {
				t.Error("nothing was found damaged: the test shows nothing")
			}
			for _, n := range c.Nodes { // it is covered by the snapshot
				n.Restart()
			}
			c.Put("after", "v")
			c.Agree()
			for _, n := range c.Nodes {
				mustGet(t, n, "k9", stale, "value-9")
			}
		}, backend(store))
	}
}

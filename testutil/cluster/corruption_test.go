package cluster_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// corruptionSeeds is how many cases are tried; `make corruption` asks for more.
func corruptionSeeds() int {
	if n, err := strconv.Atoi(os.Getenv("CORRUPTION_SEEDS")); err == nil {
		return n
	}
	return 40
}

// lonely is a server that is a cluster of its own and keeps short logs, so that
// there are two snapshots and entries behind them.
func lonely(id, dir, store string) cluster.Option {
	return func(_ int, c *rpcserver.Config) {
		c.NodeID, c.Bootstrap, c.DataDir, c.Raft.Backend = id, true, dir, store
		c.Raft.SegmentSize = 16 << 10
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval, c.Raft.TrailingLogs = 40, 5*time.Second, 20
	}
}

const lonelyID = "00000000-0000-0000-0000-00000000000a"

// dataOf writes keys to a new lonely server and returns what must be found in
// its directory from then on.
func dataOf(t *testing.T, id, dir, store, prefix string) map[string]string {
	t.Helper()
	written := map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 0)
		n := c.Add(lonely(id, dir, store))
		n.Start()
		c.Leader()
		for i := range 160 {
			key, value := fmt.Sprintf("%s/%d", prefix, i%60), fmt.Sprint(i, strings.Repeat("v", i*7%600))
			if err := put(n, key, value); err != nil {
				t.Fatal(err)
			}
			written[key] = value
			if i%50 == 49 {
				time.Sleep(15 * time.Second) // for a snapshot
			}
		}
		big := strings.Repeat("big", 7000) // has pages of its own
		if err := put(n, prefix+"/big", big); err != nil {
			t.Fatal(err)
		}
		written[prefix+"/big"] = big
		n.Crash()
	})
	return written
}

// snapshotDirs are the snapshots of a server, oldest first.
func snapshotDirs(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*-*-*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// logFiles are three files of the log, of which one is to be damaged.
func logFiles(t *testing.T, random *rand.Rand, dir string) []string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "raft", "wal", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	if len(segments) == 0 {
		file := filepath.Join(dir, "raft", "raft.db")
		return []string{file, file, file}
	}
	if len(segments) < 2 {
		t.Fatalf("only %d segments: the test shows little", len(segments))
	}
	slices.Sort(segments)
	return []string{filepath.Join(dir, "raft", "wal", "wal-meta.db"), segments[len(segments)-1], segments[random.IntN(len(segments))]}
}

// harm damages one file of the raft directory and says how.
func harm(t *testing.T, random *rand.Rand, dir string) string {
	t.Helper()
	snapshots := snapshotDirs(t, dir)
	files := append(logFiles(t, random, dir),
		filepath.Join(dir, "raft", "record"),
		filepath.Join(snapshots[len(snapshots)-1], "state.bin"), filepath.Join(snapshots[len(snapshots)-1], "meta.json"),
		filepath.Join(snapshots[0], "state.bin"), filepath.Join(snapshots[0], "meta.json"),
	)
	file := files[random.IntN(len(files))]
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at, page := random.IntN(len(content)), os.Getpagesize()
	if strings.HasSuffix(file, "raft.db") {
		at = at * 6 / 10 // bbolt makes room ahead: the rest has never been written
	}
	if strings.HasSuffix(file, ".wal") {
		at = at % max(1, len(bytes.TrimRight(content, "\x00"))) // room made ahead, too
	}
	if random.IntN(2) == 0 { // where the headers of pages are
		at = at/page*page + random.IntN(min(96, len(content)-at/page*page))
	}
	how := ""
	switch random.IntN(7) {
	case 0, 1:
		bit := byte(1) << random.IntN(8)
		content[at] ^= bit
		how = fmt.Sprintf("bit %#x of byte %d flipped", bit, at)
	case 2:
		n := min(1+random.IntN(64), len(content)-at)
		for i := range n {
			content[at+i] = byte(random.Uint32())
		}
		how = fmt.Sprintf("%d bytes from %d are noise", n, at)
	case 3:
		n := min(1+random.IntN(600), len(content)-at)
		clear(content[at : at+n])
		how = fmt.Sprintf("%d bytes from %d are zero", n, at)
	case 4:
		content = content[:at]
		how = fmt.Sprintf("cut at %d", at)
	case 5:
		n := min(page, len(content)-at/page*page)
		clear(content[at/page*page:][:n])
		how = fmt.Sprintf("page %d is zero", at/page)
	case 6:
		other := random.IntN(len(content)) / page * page
		copy(content[at/page*page:], bytes.Clone(content[other:min(other+page, len(content))]))
		how = fmt.Sprintf("page %d is that at %d", at/page, other)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(file, dir) + ": " + how
}

// served starts a lonely server on the directory and returns why it refuses;
// "" if it serves exactly what was written.
func served(t *testing.T, id, dir, store string, written map[string]string) (refusal string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := cluster.New(t, 0)
		n := c.Add(lonely(id, dir, store))
		if err := n.TryStart(); err != nil {
			if refusal = err.Error(); !structs.IsCode(err, structs.Corrupt) {
				t.Errorf("refused with %q, want the code Corrupt", refusal)
			}
			return
		}
		testutil.Eventually(t, time.Minute, "a leader", func() error { return put(n, "after", "v") })
		for key, want := range written {
			mustGet(t, n, key, plain, want)
		}
		n.Restart() // it may have only seemed sound
		testutil.Eventually(t, time.Minute, "a leader", func() error { return put(n, "after", "v") })
		for key, want := range written {
			mustGet(t, n, key, plain, want)
		}
	})
	return refusal
}

// Whatever is done to one file of the raft directory, the server either says
// what is damaged and does not start, or serves every key as it was written.
func TestCorruption(t *testing.T) {
	t.Parallel()
	for _, store := range backends {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			testCorruption(t, store)
		})
	}
}

func testCorruption(t *testing.T, store string) {
	origin := scratch(t)
	written := dataOf(t, lonelyID, origin, store, "k")
	refused, healed := 0, 0
	for seed := range corruptionSeeds() {
		dir := filepath.Join(scratch(t), "data")
		if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
			t.Fatal(err)
		}
		what := harm(t, rand.New(rand.NewPCG(uint64(seed), 0)), dir)
		refusal := served(t, lonelyID, dir, store, written)
		if refusal == "" {
			healed++
		} else {
			refused++
		}
		if t.Failed() {
			t.Fatalf("seed %d, %s: %s", seed, what, refusal)
		}
		t.Logf("seed %d: %s: %s", seed, what, refusal)
		os.RemoveAll(dir)
	}
	t.Logf("%d refused, %d served all", refused, healed)
	if refused == 0 || healed == 0 {
		t.Errorf("%d refused, %d served: the test shows little", refused, healed)
	}
}

// scratch is a directory of the test: in memory where the machine has that.
func scratch(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "praetor-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// What is not damaged at all starts; files of another cluster, files that are
// gone and files that were swapped do not.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	for _, store := range backends {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			testForeignFiles(t, store)
		})
	}
}

func testForeignFiles(t *testing.T, store string) {
	const otherID = "00000000-0000-0000-0000-00000000000b"
	ours, theirs := scratch(t), scratch(t)
	written := dataOf(t, lonelyID, ours, store, "k")
	dataOf(t, otherID, theirs, store, "other")
	newest := func(dir string) string { all := snapshotDirs(t, dir); return all[len(all)-1] }
	log := map[string]string{"boltdb": "raft.db", "wal": "wal"}[store]
	swap := func(names ...string) func(dir string) error {
		return func(dir string) error {
			for _, name := range names {
				to, from := filepath.Join(dir, "raft", name), filepath.Join(theirs, "raft", name)
				if err := os.RemoveAll(to); err != nil {
					return err
				}
				if err := exec.Command("cp", "-r", from, to).Run(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	remove := func(names ...string) func(dir string) error {
		return func(dir string) error {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(dir, "raft", name)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	cases := map[string]struct {
		do     func(dir string) error
		refuse string // part of the text; "" if it must start
	}{
		"nothing":                   {func(string) error { return nil }, ""},
		"log of another":            {swap(log), "belongs to server"},
		"record of another":         {swap("record"), "belongs to server"},
		"log and record of another": {swap(log, "record"), "belongs to server"},
		"log gone":                  {remove(log), "is gone"},
		"record gone":               {remove("record"), "is gone"},
		"log and record gone":       {remove(log, "record"), "is gone"},
		"snapshots of another":      {swap("snapshots"), "of another server"},
		"all snapshots gone":        {remove("snapshots"), "missing between"},
		"newest snapshot gone":      {func(dir string) error { return os.RemoveAll(newest(dir)) }, "missing between"},
		"the last entry taken off":  {func(dir string) error { return takeOff(dir, store) }, "this server had come to"},
		"state of another": {func(dir string) error {
			content, err := os.ReadFile(filepath.Join(newest(theirs), "state.bin"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(newest(dir), "state.bin"), content, 0o600)
		}, "; snapshot "},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(scratch(t), "data")
			if err := os.CopyFS(dir, os.DirFS(ours)); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(dir); err != nil {
				t.Fatal(err)
			}
			refusal := served(t, lonelyID, dir, store, written)
			if (refusal == "") != (tt.refuse == "") || !strings.Contains(refusal, tt.refuse) {
				t.Errorf("got %q, want %q", refusal, tt.refuse)
			}
			t.Log(refusal)
		})
	}
}

// takeOff deletes the last entry as the library does: all is in order, it is only less.
func takeOff(dir, store string) error {
	if store == "wal" {
		meta := &metadb.BoltMetaDB{}
		defer meta.Close()
		log, err := raftwal.Open(filepath.Join(dir, "raft", "wal"), raftwal.WithMetaStore(meta))
		if err != nil {
			return err
		}
		defer log.Close()
		last, err := log.LastIndex()
		if err != nil {
			return err
		}
		return log.DeleteRange(last, last)
	}
	log, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft", "raft.db"))
	if err != nil {
		return err
	}
	defer log.Close()
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	return log.DeleteRange(last, last)
}

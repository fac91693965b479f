package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"praetor/agent/backup"
	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// backupEvery is short: an hour of virtual time costs many heartbeats.
const backupEvery = 40 * time.Second

// backups gives every server a keeper of its own, all of them on one directory.
func backups(t testing.TB, dir string) cluster.Option {
	return func(i int, c *rpcserver.Config) {
		target, err := backup.Open(dir, backup.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c.Backups = backup.New(backup.Settings{
			Target: target, URL: dir, Schedule: backup.Every(backupEvery), Keep: 3,
			Server: c.NodeName, Version: "0.1.0", Logger: c.Logger,
		})
	}
}

func backupsAt(t testing.TB, dir string) (good []structs.BackupRecord) {
	t.Helper()
	target, err := backup.Open(dir, backup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := backup.List(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Good() {
			good = append(good, r)
		} else {
			t.Errorf("a bad backup: %+v", r)
		}
	}
	return good
}

func backupState(t testing.TB, n *cluster.Node) structs.BackupStatus {
	t.Helper()
	var reply structs.BackupStatusReply
	testutil.Eventually(t, time.Minute, "the status of the backups", func() error {
		return n.Call(context.Background(), "Operator.BackupStatus", &structs.DCSpecificRequest{}, &reply)
	})
	return reply.Status
}

// The leader takes backups, and whoever leads next goes on in the same step.
func TestBackupHandover(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		first := c.Leader()
		c.Put("a", "1")
		time.Sleep(backupEvery + 10*time.Second)
		all := backupsAt(t, dir)
		if len(all) != 2 || all[1].Server != first.Config.NodeName || all[1].ClusterID == "" {
			t.Fatalf("got %+v, want two of %s", all, first.Config.NodeName)
		}
		for _, n := range c.Up() {
			s := backupState(t, n)
			if s.Leader != first.Config.NodeName || s.Backups != 2 || s.Last == nil || s.Last.Name != all[1].Name || s.Failures != 0 {
				t.Errorf("%s says %+v", n.Config.NodeName, s)
			}
		}
		first.Crash()
		second := c.Leader()
		time.Sleep(backupEvery / 4)
		if got := backupsAt(t, dir); len(got) != 2 {
			t.Errorf("got %d backups, want none before it is due", len(got))
		}
		time.Sleep(backupEvery)
		all = backupsAt(t, dir)
		if len(all) != 3 || all[2].Server != second.Config.NodeName || all[2].Time.Sub(all[1].Time) > backupEvery+time.Second {
			t.Errorf("got %+v, want another in time", all)
		}
		first.Start()
		time.Sleep(4 * backupEvery)
		if all = backupsAt(t, dir); len(all) != 3 || all[2].Time.Sub(all[1].Time).Round(time.Second) != backupEvery {
			t.Errorf("got %+v, want the last three", all)
		}
	}, backups(t, dir))
}

// A leader that is cut off cannot prove that it leads, so it takes none; at no
// time are two taken by two servers.
func TestBackupsInASplit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		old := c.Leader()
		time.Sleep(backupEvery - 10*time.Second)
		isolate(c, old)
		time.Sleep(4 * backupEvery)
		c.Net.Heal()
		c.Leader()
		seen := map[string]bool{}
		for i, r := range backupsAt(t, dir) {
			if i > 0 && r.Server == old.Config.NodeName {
				t.Errorf("%s took %s while it was cut off", r.Server, r.Name)
			}
			at := fmt.Sprint(r.Time.Truncate(backupEvery / 4))
			if seen[at] {
				t.Errorf("two backups at %s", at)
			}
			seen[at] = true
		}
		if len(seen) != 3 {
			t.Errorf("got %d backups, want 3 to be left", len(seen))
		}
	}, backups(t, dir))
}

// A backup taken through any server holds what was written before, and restores
// to it.
func TestBackupRunAndRestore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		time.Sleep(10 * time.Second)
		c.Put("a", "before")
		follower := c.Followers()[0]
		var started structs.BackupStarted
		if err := follower.Call(context.Background(), "Operator.BackupRun", &structs.DCSpecificRequest{}, &started); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		s := backupState(t, follower)
		if s.Succeeded != started.Attempt || started.Leader != c.Leader().Config.NodeName || s.Last == nil {
			t.Fatalf("asked for %+v, got %+v", started, s)
		}
		c.Put("a", "after")
		target, err := backup.Open(dir, backup.Options{})
		if err != nil {
			t.Fatal(err)
		}
		body, err := target.Get(context.Background(), "snap/"+s.Last.Name+".snap")
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if err := follower.RestoreSnapshot(context.Background(), &structs.SnapshotRequest{}, body); err != nil {
			t.Fatal(err)
		}
		if got := c.Get("a"); got != "before" {
			t.Errorf("got %q after the restore", got)
		}
	}, backups(t, dir))
}

func TestNoBackups(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		err := c.Leader().Call(context.Background(), "Operator.BackupRun", &structs.DCSpecificRequest{}, &structs.BackupStarted{})
		if !structs.IsCode(err, structs.Unsupported) {
			t.Errorf("got %v", err)
		}
	})
}

package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"praetor/agent/backup"
	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/s3"
)

// source is a state that grows by a key with each backup taken of it.
type source struct {
	t     testing.TB
	fsm   *fsm.FSM
	index uint64
	err   atomic.Pointer[error]
}

func newSource(t testing.TB) *source { return &source{t: t, fsm: fsm.New(), index: 10} }

func (s *source) take(context.Context) (*rpcserver.Archive, error) {
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	s.index++
	entry, err := structs.EncodeCommand(&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{
		Key: fmt.Sprintf("key%d", s.index), Value: bytes.Repeat([]byte("value"), 1000)}})
	if err != nil {
		return nil, err
	}
	s.fsm.Apply(&raft.Log{Index: s.index, Type: raft.LogCommand, Data: entry})
	view := s.fsm.View()
	var state, whole bytes.Buffer
	if err := view.Stream(&state); err != nil {
		return nil, err
	}
	a := &rpcserver.Archive{Index: s.index, State: sha256.New()}
	meta := &raft.SnapshotMeta{Version: 1, ID: "1-1-1", Index: s.index, Term: 1, Size: int64(state.Len())}
	if err := archive.Write(&whole, meta, io.TeeReader(&state, a.State)); err != nil {
		return nil, err
	}
	a.ReadCloser = io.NopCloser(&whole)
	return a, nil
}

// keeping starts a keeper on a directory, and leads with it until stop.
type keeping struct {
	*backup.Keeper
	dir    string
	source *source
	target backup.Target
}

func newKeeping(t testing.TB, dir string, change func(*backup.Settings)) *keeping {
	target := mustOpen(t, dir, backup.Options{})
	s := backup.Settings{
		Target: target, URL: dir, Schedule: backup.Every(time.Hour), Server: "node0", Version: "0.1.0",
		Logger: testutil.Logger(t, "node0"),
	}
	if change != nil {
		change(&s)
	}
	return &keeping{Keeper: backup.New(s), dir: dir, source: newSource(t), target: s.Target}
}

func (k *keeping) lead(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { k.Lead(ctx, "cluster-a", k.source.take) })
	return func() { cancel(); done.Wait() }
}

func records(t testing.TB, target backup.Target) []structs.BackupRecord {
	t.Helper()
	records, err := backup.List(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// times are when good backups were taken, as time since start.
func times(t testing.TB, target backup.Target, start time.Time) (times []string) {
	for _, r := range records(t, target) {
		if r.Good() {
			times = append(times, r.Time.Sub(start.Truncate(time.Millisecond)).Round(time.Second).String())
		}
	}
	return times
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		k := newKeeping(t, t.TempDir(), nil)
		stop := k.lead(t.Context())
		time.Sleep(3*time.Hour + time.Minute)
		if diff := cmp.Diff([]string{"0s", "1h0m0s", "2h0m0s", "3h0m0s"}, times(t, k.target, start)); diff != "" {
			t.Errorf("backups (-want +got):\n%s", diff)
		}
		s := k.Status()
		if s.Backups != 4 || s.Last == nil || s.Failures != 0 || s.Running || !s.Next.Equal(s.Last.Time.Add(time.Hour)) {
			t.Errorf("status: got %+v", s)
		}
		if r := s.Last; r.Index != 14 || r.ClusterID != "cluster-a" || r.Server != "node0" || len(r.StateHash) != 64 || r.Size == 0 {
			t.Errorf("record: got %+v", r)
		}
		stop()
		// The next leader has only the target to go by.
		time.Sleep(30 * time.Minute)
		other := newKeeping(t, k.dir, nil)
		other.source = k.source
		stop = other.lead(t.Context())
		time.Sleep(10 * time.Minute)
		if got := len(records(t, k.target)); got != 4 {
			t.Errorf("the new leader has %d backups, want none before it is due", got)
		}
		time.Sleep(20 * time.Minute)
		if got := times(t, k.target, start); len(got) != 5 || got[4] != "4h0m0s" {
			t.Errorf("the new leader goes on at %q, want 4h", got)
		}
		stop()
		// What was missed while nobody led is made good at once.
		time.Sleep(5 * time.Hour)
		stop = k.lead(t.Context())
		time.Sleep(time.Second)
		if got := times(t, k.target, start); len(got) != 6 {
			t.Errorf("got %q, want one more at once", got)
		}
		stop()
	})
}

func TestCron(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 30, 12, 30, 0, 0, time.UTC)
	for expression, want := range map[string]string{
		"30 3 * * *":   "2026-01-31T03:30:00Z",
		"*/15 * * * *": "2026-01-30T12:45:00Z",
		"@daily":       "2026-01-31T00:00:00Z",
		"0 0 1 * *":    "2026-02-01T00:00:00Z",
		"0 4 * * 0":    "2026-02-01T04:00:00Z",
	} {
		schedule, err := backup.Cron(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got := schedule.Next(at.In(time.FixedZone("far", 9*3600))).Format(time.RFC3339); got != want {
			t.Errorf("%s: got %s, want %s", expression, got, want)
		}
	}
	for _, expression := range []string{"", "hourly", "61 * * * *", "* * *", "0 0 1 1 * 1999"} {
		if _, err := backup.Cron(expression); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("%q: got %v", expression, err)
		}
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 30, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		ages    string // in hours, oldest first; b is a bad one, x one of another cluster
		keep    int
		keepFor time.Duration
		want    string
	}{
		{"none", "", 3, time.Hour, ""},
		{"no limits", "500 400 3 2 1", 0, 0, ""},
		{"by count", "5 4 3 2 1", 2, 0, "5 4 3"},
		{"as many as to keep", "2 1", 2, 0, ""},
		{"by age", "50 25 23 1", 0, 24 * time.Hour, "50 25"},
		{"by either", "50 5 4 3", 3, 24 * time.Hour, "50"},
		{"never the newest", "500", 1, time.Hour, ""},
		{"never the newest of old ones", "502 501 500", 0, time.Hour, "502 501"},
		{"bad ones do not count", "5 4 b3 2 b1", 2, 0, "5 b3"},
		{"a bad one newer than the newest good one", "500 b1", 1, time.Hour, ""},
		{"one bad one at most", "5 b4 b3 b2", 24, 0, "b4 b3"},
		{"only bad ones", "b5 b1", 1, time.Hour, "b5"},
		{"other clusters", "x9 x8 5 x4 3", 1, 0, "5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var records []structs.BackupRecord
			var want []string
			for word := range strings.FieldsSeq(tt.ages) {
				var hours int
				fmt.Sscan(strings.TrimLeft(word, "bx"), &hours)
				r := structs.BackupRecord{Name: word, Time: now.Add(-time.Duration(hours) * time.Hour), ClusterID: "a", Verified: word[0] != 'b'}
				if word[0] == 'x' {
					r.ClusterID = "other"
				}
				records = append(records, r)
			}
			for word := range strings.FieldsSeq(tt.want) {
				want = append(want, word)
			}
			got := backup.Expired(records, "a", now, tt.keep, tt.keepFor)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A leader whose clock is behind, or was put right, goes on taking backups, and
// deletes none of its own for those that bear a time which is still to come.
func TestClockThatGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		k := newKeeping(t, t.TempDir(), func(s *backup.Settings) { s.Keep = 2 })
		for i, ahead := range []time.Duration{48 * time.Hour, 49 * time.Hour} {
			at := start.Add(ahead)
			r := structs.BackupRecord{Name: fmt.Sprintf("%020d-%d", 5+i, at.UnixMilli()), Index: uint64(5 + i), Time: at, ClusterID: "cluster-a", Verified: true}
			text, err := json.Marshal(&r)
			if err != nil {
				t.Fatal(err)
			}
			put(t, k.target, "snap/"+r.Name+".json", string(text))
			put(t, k.target, "snap/"+r.Name+".snap", "")
		}
		defer k.lead(t.Context())()
		time.Sleep(4*time.Hour + time.Minute)
		if diff := cmp.Diff([]string{"3h0m0s", "4h0m0s", "48h0m0s", "49h0m0s"}, times(t, k.target, start)); diff != "" {
			t.Errorf("backups (-want +got):\n%s", diff)
		}
		if s := k.Status(); s.Last == nil || s.Last.Time.After(time.Now()) || s.Backups != 4 {
			t.Errorf("status: got %+v, want the last backup that was taken", s)
		}
	})
}

// What a server left that was killed while it wrote is deleted after a day.
func TestRemaindersAreSweptUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, t.TempDir(), nil)
		old, young := filepath.Join(k.dir, "log", ".partial-1"), filepath.Join(k.dir, "snap", ".partial-2")
		for name, age := range map[string]time.Duration{old: 25 * time.Hour, young: 20 * time.Hour} {
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, time.Now(), time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		defer k.lead(t.Context())()
		time.Sleep(time.Minute)
		if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file that was never finished is still there after a day: %v", err)
		}
		if _, err := os.Stat(young); err != nil {
			t.Errorf("one that somebody may still write to: %v", err)
		}
	})
}

func TestUploadsAreSweptUp(t *testing.T) {
	t.Parallel()
	server := s3.New(t, "backups")
	server.Abandon("prod/snap/1.snap", time.Now().Add(-25*time.Hour))
	server.Abandon("prod/snap/2.snap", time.Now().Add(-20*time.Hour))
	server.Abandon("another/1.snap", time.Now().Add(-25*time.Hour))
	k := newKeeping(t, t.TempDir(), func(s *backup.Settings) {
		s.Target = mustOpen(t, server.URL("prod"), backup.Options{CredentialsFile: credentials(t, s3.SecretKey)})
	})
	stop := k.lead(t.Context())
	defer stop()
	testutil.Eventually(t, 20*time.Second, "a backup", func() error {
		if s := k.Status(); s.Succeeded == 0 {
			return fmt.Errorf("got %+v", s)
		}
		return nil
	})
	if got := server.Unfinished(); got != 2 {
		t.Errorf("%d uploads are left, want the one that may still end and the one that is not ours", got)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		k := newKeeping(t, t.TempDir(), func(s *backup.Settings) { s.Keep = 2 })
		old := filepath.Join(k.dir, "snap", fmt.Sprintf("%020d-%d.snap", 3, start.Add(-48*time.Hour).UnixMilli()))
		young := filepath.Join(k.dir, "snap", fmt.Sprintf("%020d-%d.snap", 4, start.Add(-time.Minute).UnixMilli()))
		if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{old, young} {
			if err := os.WriteFile(name, []byte("cut off"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		defer k.lead(t.Context())()
		time.Sleep(4*time.Hour + time.Minute)
		if diff := cmp.Diff([]string{"3h0m0s", "4h0m0s"}, times(t, k.target, start)); diff != "" {
			t.Errorf("backups (-want +got):\n%s", diff)
		}
		if got := names(t, k.target, ""); len(got) != 5 {
			t.Errorf("got %q, want two backups and what may still become one", got)
		}
	})
}

// A target that is gone for a while is asked again, later and later, and all is
// as before once it is back.
func TestTargetGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		dir := t.TempDir()
		k := newKeeping(t, filepath.Join(dir, "mount", "backups"), nil)
		if err := os.WriteFile(filepath.Join(dir, "mount"), nil, 0o600); err != nil { // no directory
			t.Fatal(err)
		}
		defer k.lead(t.Context())()
		time.Sleep(2 * time.Hour)
		s := k.Status()
		if s.Failures < 15 || s.Failures > 25 || s.LastError == "" || s.LastErrorTime.IsZero() || s.Last != nil {
			t.Errorf("got %+v, want some twenty failures in two hours", s)
		}
		if err := os.Remove(filepath.Join(dir, "mount")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if s = k.Status(); s.Failures != 0 || s.Backups != 1 || s.LastError == "" {
			t.Errorf("got %+v, want a backup, and what was wrong before", s)
		}
		if got := times(t, k.target, start); len(got) != 1 {
			t.Errorf("got %q", got)
		}
	})
}

// bad is a target with a fault.
type bad struct {
	backup.Target
	put func(name string, r io.Reader) io.Reader
}

func (b bad) Put(ctx context.Context, name string, r io.Reader) error {
	if strings.HasSuffix(name, ".snap") {
		r = b.put(name, r)
	}
	return b.Target.Put(ctx, name, r)
}

// Whatever a target makes of what it is given is found out by reading it back.
func TestVerificationCatchesDamage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		put  func([]byte) []byte
	}{
		{"a flipped bit at the front", func(b []byte) []byte { b[20] ^= 1; return b }},
		{"a flipped bit in the middle", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"a flipped bit at the end", func(b []byte) []byte { b[len(b)-3] ^= 1; return b }},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }},
		{"more", func(b []byte) []byte { return append(b, 0) }},
		{"nothing", func([]byte) []byte { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var faulty atomic.Bool
				faulty.Store(true)
				k := newKeeping(t, t.TempDir(), func(s *backup.Settings) {
					s.Target = bad{s.Target, func(_ string, r io.Reader) io.Reader {
						if !faulty.Load() {
							return r
						}
						whole, err := io.ReadAll(r)
						if err != nil {
							return r
						}
						return bytes.NewReader(tt.put(whole))
					}}
				})
				defer k.lead(t.Context())()
				time.Sleep(25 * time.Second)
				if s := k.Status(); s.Failures < 2 || s.Last != nil || !strings.Contains(s.LastError, "verify") {
					t.Errorf("status: got %+v", s)
				}
				all := records(t, k.target)
				if len(all) != 1 || all[0].Good() || all[0].Error == "" {
					t.Errorf("records: got %+v, want the last bad one", all)
				}
				if _, err := backup.Find(all, "latest"); !structs.IsCode(err, structs.NotFound) {
					t.Errorf("latest: got %v", err)
				}
				faulty.Store(false)
				time.Sleep(time.Minute)
				if all = records(t, k.target); len(all) != 1 || !all[0].Good() {
					t.Errorf("records: got %+v, want the good one alone", all)
				}
			})
		})
	}
}

// A backup that turns bad later is found out by whoever fetches it.
func TestFetchCatchesDamage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, t.TempDir(), nil)
		stop := k.lead(t.Context())
		time.Sleep(time.Hour + time.Minute)
		stop()
		all := records(t, k.target)
		if len(all) != 2 {
			t.Fatalf("got %d backups", len(all))
		}
		r := all[1]
		if err := backup.Fetch(t.Context(), k.target, &r, io.Discard); err != nil {
			t.Fatalf("as it was: %v", err)
		}
		for what, change := range map[string]func(*structs.BackupRecord){
			"another state hash": func(r *structs.BackupRecord) { r.StateHash = all[0].StateHash },
			"another sum":        func(r *structs.BackupRecord) { r.SHA256 = all[0].SHA256 },
			"another size":       func(r *structs.BackupRecord) { r.Size++ },
		} {
			wrong := r
			change(&wrong)
			if err := backup.Fetch(t.Context(), k.target, &wrong, io.Discard); !structs.IsCode(err, structs.Corrupt) {
				t.Errorf("%s: got %v", what, err)
			}
		}
		path := func(name string) string { return filepath.Join(k.dir, "snap", name+".snap") }
		whole, err := os.ReadFile(path(r.Name))
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(path(all[0].Name))
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, data []byte) {
			t.Helper()
			if err := os.WriteFile(path(r.Name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := backup.Fetch(t.Context(), k.target, &r, io.Discard); !structs.IsCode(err, structs.Corrupt) {
				t.Errorf("%s: got %v", what, err)
			}
		}
		for i := range whole {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 0x10
			check(fmt.Sprintf("a flipped bit at %d", i), damaged)
		}
		check("another backup", other)
		check("half of it", whole[:len(whole)/2])
		if err := os.Remove(path(r.Name)); err != nil {
			t.Fatal(err)
		}
		if err := backup.Fetch(t.Context(), k.target, &r, io.Discard); !structs.IsCode(err, structs.NotFound) {
			t.Errorf("gone: got %v", err)
		}
		if all = records(t, k.target); all[1].Good() {
			t.Error("a record without an archive counts as good")
		}
	})
}

func TestFind(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	record := func(name, cluster string, index uint64, hours int, good bool) structs.BackupRecord {
		return structs.BackupRecord{Name: name, ClusterID: cluster, Index: index, Time: at.Add(time.Duration(hours) * time.Hour), Verified: good}
	}
	one := record("one", "a", 100, 1, true)
	two := record("two", "a", 90, 2, true)
	three := record("three", "a", 110, 3, true)
	broken := record("broken", "a", 200, 3, false)
	empty := record("empty", "b", 5, 4, true)
	heir := record("heir", "c", 101, 4, true)
	for _, tt := range []struct {
		name    string
		records []structs.BackupRecord
		ask     string
		want    string
		code    structs.Code
	}{
		{"the newest", []structs.BackupRecord{one, three}, "latest", "three", 0},
		{"a clock went back, or a quorum was lost", []structs.BackupRecord{one, two}, "latest", "", structs.Conflict},
		{"bad ones do not count", []structs.BackupRecord{one, three, broken}, "latest", "three", 0},
		{"an empty cluster started by mistake", []structs.BackupRecord{one, three, empty}, "latest", "", structs.Conflict},
		{"the one named all the same", []structs.BackupRecord{one, two, empty}, "snap/one.snap.age", "one", 0},
		{"a cluster that went on from it", []structs.BackupRecord{one, two, heir}, "latest", "heir", 0},
		{"a bad one by name", []structs.BackupRecord{one, broken}, "broken", "", structs.Corrupt},
		{"no such", []structs.BackupRecord{one}, "two", "", structs.NotFound},
		{"none", nil, "latest", "", structs.NotFound},
	} {
		got, err := backup.Find(tt.records, tt.ask)
		if tt.want == "" && !structs.IsCode(err, tt.code) || tt.want != "" && (err != nil || got.Name != tt.want) {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
}

// A leader that stops in the middle leaves nothing that looks whole, and the
// next one does not wait for it.
func TestAbortedBackup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		slow.Store(true)
		k := newKeeping(t, t.TempDir(), func(s *backup.Settings) {
			s.Target = bad{s.Target, func(_ string, r io.Reader) io.Reader {
				return readerFunc(func(p []byte) (int, error) {
					if slow.Load() {
						time.Sleep(time.Second)
						p = p[:1]
					}
					return r.Read(p)
				})
			}}
		})
		stop := k.lead(t.Context())
		time.Sleep(10 * time.Second)
		if s := k.Status(); !s.Running {
			t.Fatalf("status: got %+v", s)
		}
		started := time.Now()
		stop()
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("giving up took %v", took)
		}
		if got := names(t, k.target, ""); got != nil {
			t.Errorf("there is %q", got)
		}
		if s := k.Status(); s.Running || s.Started != s.Finished || s.Succeeded != 0 {
			t.Errorf("status: got %+v", s)
		}
		slow.Store(false)
		defer k.lead(t.Context())()
		time.Sleep(time.Second)
		if got := records(t, k.target); len(got) != 1 || !got[0].Good() {
			t.Errorf("got %+v, want one good backup", got)
		}
	})
}

// A target that hangs holds up nothing but backups, and never has two at once.
func TestTargetHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var at atomic.Int32
		k := newKeeping(t, t.TempDir(), func(s *backup.Settings) {
			s.Target = bad{s.Target, func(_ string, r io.Reader) io.Reader {
				at.Add(1)
				return readerFunc(func(p []byte) (int, error) {
					<-free // hears of nothing, as a system call does
					return r.Read(p)
				})
			}}
		})
		stop := k.lead(t.Context())
		time.Sleep(time.Hour)
		s := k.Status()
		if s.Failures < 2 || s.Running || at.Load() != 1 {
			t.Errorf("status: got %+v, %d at once", s, at.Load())
		}
		if !strings.Contains(s.LastError, "hangs") {
			t.Errorf("last error: %q", s.LastError)
		}
		started := time.Now()
		stop()
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("losing the leadership took %v", took)
		}
		close(free)
		time.Sleep(time.Second)
		defer k.lead(t.Context())()
		time.Sleep(time.Second)
		if got := records(t, k.target); len(got) != 1 || !got[0].Good() {
			t.Errorf("got %+v, want one good backup", got)
		}
	})
}

// A backup that is under way is not the one that is asked for meanwhile: it may
// be of an earlier state.
func TestRunDuringABackup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, t.TempDir(), func(s *backup.Settings) {
			s.Target = bad{s.Target, func(_ string, r io.Reader) io.Reader {
				time.Sleep(time.Minute)
				return r
			}}
		})
		defer k.lead(t.Context())()
		time.Sleep(30 * time.Second)
		n := k.Run()
		time.Sleep(time.Minute)
		if s := k.Status(); s.Succeeded != 1 || !s.Running || n != 2 {
			t.Errorf("asked for %d: got %+v", n, s)
		}
		time.Sleep(time.Minute)
		if s := k.Status(); s.Succeeded != n || s.Backups != 2 || s.Running {
			t.Errorf("asked for %d: got %+v", n, s)
		}
	})
}

// Whoever asks for a backup learns what became of it.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, t.TempDir(), nil)
		stop := k.lead(t.Context())
		time.Sleep(time.Minute)
		n := k.Run()
		time.Sleep(time.Second)
		if s := k.Status(); s.Succeeded != n || s.Backups != 2 || n != 2 {
			t.Errorf("asked for %d: got %+v", n, s)
		}
		k.source.err.Store(new(errors.New("no snapshot today")))
		n = k.Run()
		time.Sleep(time.Second)
		if s := k.Status(); s.Finished != n || s.Succeeded == n || !strings.Contains(s.LastError, "today") {
			t.Errorf("asked for %d: got %+v", n, s)
		}
		stop()
		n = k.Run() // too late
		k.source.err.Store(nil)
		stop = k.lead(t.Context())
		time.Sleep(time.Second)
		if s := k.Status(); s.Succeeded != n {
			t.Errorf("asked for %d: got %+v", n, s)
		}
		stop()
	})
}

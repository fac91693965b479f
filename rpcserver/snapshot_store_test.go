package rpcserver_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/rpcserver"
	"praetor/structs"
)

// keysStream is a snapshot stream of n keys.
func keysStream(t testing.TB, n int) []byte {
	t.Helper()
	stream, err := structs.AppendValue(nil, &structs.SnapshotHeader{LastIndex: 9})
	for i := 0; i < n && err == nil; i++ {
		stream, err = structs.AppendValue(append(stream, byte(structs.KVSRequestType)), &structs.DirEntry{
			Key: fmt.Sprintf("key-%06d", i), Value: bytes.Repeat([]byte{byte(i)}, 200), RaftIndex: structs.RaftIndex{CreateIndex: 5, ModifyIndex: 9},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func openSnapshots(t testing.TB) (rpcserver.Snapshots, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := rpcserver.OpenSnapshots(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func writeSnapshot(t testing.TB, s rpcserver.Snapshots, index uint64, stream []byte) (id string) {
	t.Helper()
	sink, err := s.Create(1, index, 3, raft.Configuration{}, 1, nil)
	if err == nil {
		_, err = io.Copy(sink, bytes.NewReader(stream))
	}
	if err == nil {
		err = sink.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sink.ID()
}

func openSource(t testing.TB, s rpcserver.Snapshots, id string) fsm.Source {
	t.Helper()
	_, source, err := s.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return source.(fsm.Source)
}

// The state that was loaded before is that of the snapshot with the same bytes,
// for one who asks, and of no other.
func TestReadySnapshot(t *testing.T) {
	t.Parallel()
	s, _ := openSnapshots(t)
	stream := keysStream(t, 3000) // in several writes
	loaded, err := fsm.Load(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	before := writeSnapshot(t, s, 10, stream)
	s.Offer(loaded, stream)
	other := bytes.Clone(stream)
	other[len(other)-1] ^= 1
	differs := writeSnapshot(t, s, 11, other)
	for name, id := range map[string]string{"written before": before, "of other bytes": differs} {
		if openSource(t, s, id).Ready() != nil {
			t.Errorf("the snapshot %s is taken for the one that was loaded", name)
		}
	}
	same := writeSnapshot(t, s, 12, stream)
	source := openSource(t, s, same)
	if index, term := source.Position(); index != 12 || term != 3 {
		t.Errorf("it was taken at %d of term %d, want 12 of term 3", index, term)
	}
	if openSource(t, s, differs).Ready() != nil || source.Ready() != loaded || source.Ready() != nil {
		t.Error("want the loaded state for this snapshot, once")
	}
	s.Offer(loaded, stream)
	same = writeSnapshot(t, s, 13, stream)
	s.Withdraw()
	if openSource(t, s, same).Ready() != nil {
		t.Error("an offer that was withdrawn is taken")
	}
}

// A damaged snapshot never gives all of its bytes, so that nobody takes it for a
// whole one, whoever reads it; and it is known from then on.
func TestDamagedSnapshotIsNeverReadWhole(t *testing.T) {
	t.Parallel()
	stream := keysStream(t, 500)
	damage := map[string]func([]byte) []byte{
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
		"emptied":  func(b []byte) []byte { return nil },
		"extended": func(b []byte) []byte { return append(b, 0) },
	}
	for _, at := range []int{0, 1, len(stream) / 2, len(stream) - 1} {
		damage[fmt.Sprintf("flipped at %d of %d", at, len(stream))] = func(b []byte) []byte { b[at] ^= 4; return b }
	}
	for name, hurt := range damage {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, dir := openSnapshots(t)
			id := writeSnapshot(t, s, 10, stream)
			state := filepath.Join(dir, "snapshots", id, "state.bin")
			if got, err := io.ReadAll(openSource(t, s, id)); err != nil || !bytes.Equal(got, stream) {
				t.Fatalf("the sound one: %d bytes, %v", len(got), err)
			}
			if err := os.WriteFile(state, hurt(bytes.Clone(stream)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, source, err := s.Open(id)
			if err == nil {
				var got []byte
				got, err = io.ReadAll(source)
				if len(got) >= len(stream) {
					t.Errorf("all %d bytes came", len(got))
				}
				source.Close()
			}
			if err == nil || s.Bad(id) == "" {
				t.Errorf("error %v, noted as %q: want both", err, s.Bad(id))
			}

			// The FSM keeps what it has, though the damage may look like a bad record.
			f := fsm.New()
			if _, source, err := s.Open(id); err == nil {
				store := f.Store()
				if err := f.Restore(source); err == nil || f.Store() != store {
					t.Errorf("the FSM has restored it: %v", err)
				}
			}
		})
	}
}

// Damage is known even if the reader stumbles over it before the end.
func TestDamageIsNotedWhenARecordIsBad(t *testing.T) {
	t.Parallel()
	s, dir := openSnapshots(t)
	stream := keysStream(t, 20_000)
	id := writeSnapshot(t, s, 10, stream)
	hurt := bytes.Clone(stream)
	hurt[bytes.Index(hurt, []byte("CreateIndex"))-1] = 0xc1 // no msgpack begins with it
	if err := os.WriteFile(filepath.Join(dir, "snapshots", id, "state.bin"), hurt, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fsm.New().Restore(openSource(t, s, id)); !structs.IsCode(err, structs.Corrupt) {
		t.Errorf("got %v, want code Corrupt", err)
	}
	if s.Bad(id) == "" {
		t.Error("the snapshot still counts as sound")
	}
}

func TestEarlySync(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.bin")
	wrote, syncing, end := rpcserver.EarlySync(path)
	wrote(rpcserver.EarlySyncStep) // there is no file: the sync at the end will say so
	if syncing() {
		t.Error("it syncs a file that is not there")
	}
	content := bytes.Repeat([]byte("state"), 1000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote(0)
	if !syncing() {
		t.Error("nothing is synced, though there is much to do")
	}
	for range 10 {
		wrote(rpcserver.EarlySyncStep)
	}
	end()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file has changed: %d bytes, %v", len(got), err)
	}
}

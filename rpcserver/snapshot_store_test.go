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
	"praetor/fsm/archive"
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

// snapshotArchive is an archive of a stream.
func snapshotArchive(t testing.TB, stream []byte) io.Reader {
	t.Helper()
	var file bytes.Buffer
	meta := &raft.SnapshotMeta{Version: 1, ID: "1-9-1", Index: 9, Term: 1, Size: int64(len(stream))}
	if err := archive.Write(&file, meta, bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	return &file
}

func receive(t testing.TB, dir string, stream []byte) rpcserver.Upload {
	t.Helper()
	u, err := rpcserver.Receive(dir, snapshotArchive(t, stream))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// A snapshot takes over the file of an upload, or copies it, and either way is
// what raft would have written, and known as what was loaded.
func TestUploadBecomesASnapshot(t *testing.T) {
	t.Parallel()
	stream := keysStream(t, 3000)
	for _, links := range []bool{true, false} {
		t.Run(fmt.Sprintf("links %v", links), func(t *testing.T) {
			t.Parallel()
			s, dir := openSnapshots(t)
			plain := writeSnapshot(t, s, 10, stream)
			u := receive(t, dir, stream)
			sink, err := s.Create(1, 12, 3, raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a:1"}}}, 7, encodesPeers{})
			if err != nil {
				t.Fatal(err)
			}
			if !links {
				stands := filepath.Join(dir, "snapshots", sink.ID()+".tmp", "taken")
				if err := os.WriteFile(stands, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			size, err := io.Copy(sink, u)
			if err != nil || rpcserver.Linked(sink) != links {
				t.Fatalf("error %v, linked %v", err, rpcserver.Linked(sink))
			}
			if err := sink.Close(); err != nil {
				t.Fatal(err)
			}

			raftsOwn, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			meta, source, err := raftsOwn.Open(sink.ID()) // checks the CRC
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			got, err := io.ReadAll(source)
			if err != nil || !bytes.HasPrefix(got, stream) || int64(len(got)) != size {
				t.Errorf("raft reads %d bytes, %v; %d were taken of a stream of %d", len(got), err, size, len(stream))
			}
			if meta.Index != 12 || meta.Size != size || meta.ConfigurationIndex != 7 || len(meta.Configuration.Servers) != 1 {
				t.Errorf("meta.json: %+v", meta)
			}
			if list, err := s.List(); err != nil || len(list) != 2 || list[0].ID != sink.ID() {
				t.Errorf("the list: %v, %v", list, err)
			}

			if openSource(t, s, plain).Ready() != nil {
				t.Error("another snapshot is taken for the one that was loaded")
			}
			ready := openSource(t, s, sink.ID())
			if index, term := ready.Position(); index != 12 || term != 3 {
				t.Errorf("it was taken at %d of term %d, want 12 of term 3", index, term)
			}
			if ready.Ready() != u.Loaded() || ready.Ready() != nil {
				t.Error("want the loaded state for this snapshot, once")
			}
		})
	}
}

// encodesPeers is what a snapshot wants of a transport.
type encodesPeers struct{ raft.Transport }

func (encodesPeers) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// Of an upload that comes to nothing, nothing is left.
func TestUploadGivenUp(t *testing.T) {
	t.Parallel()
	s, dir := openSnapshots(t)
	stream := keysStream(t, 3000)

	u := receive(t, dir, stream)
	sink, err := s.Create(1, 12, 3, raft.Configuration{}, 1, nil)
	if err == nil {
		_, err = io.Copy(sink, u)
	}
	if err == nil {
		err = sink.Cancel()
	}
	if err != nil {
		t.Fatal(err)
	}
	checkUploadsGone(t, dir)

	// A disk that gives back other bytes than were verified: no snapshot of them is made.
	u = receive(t, dir, stream)
	sink, err = s.Create(1, 13, 3, raft.Configuration{}, 1, nil)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "snapshots", sink.ID()+".tmp", "taken"), nil, 0o600)
	}
	if err == nil {
		_, err = u.File().WriteAt([]byte("other"), 1000)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(sink, u); err == nil {
		t.Error("what is not what was verified is copied")
	}
	if err := sink.Cancel(); err != nil {
		t.Fatal(err)
	}
	checkUploadsGone(t, dir)

	bad := bytes.Clone(stream)
	bad[len(bad)-1] ^= 0x80
	bad[bytes.Index(bad, []byte("CreateIndex"))-1] = 0xc1
	if _, err := rpcserver.Receive(dir, snapshotArchive(t, bad)); !structs.IsCode(err, structs.Corrupt) {
		t.Errorf("a bad stream: got %v, want code Corrupt", err)
	}
	checkUploadsGone(t, dir)

	u = receive(t, dir, stream)
	sink, err = s.Create(1, 14, 3, raft.Configuration{}, 1, nil)
	if err == nil {
		_, err = io.Copy(sink, u)
	}
	if err == nil {
		err = sink.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Withdraw()
	if openSource(t, s, sink.ID()).Ready() != nil {
		t.Error("a state that was withdrawn is taken")
	}
}

func checkUploadsGone(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Join(dir, "snapshots")} {
		left, err := filepath.Glob(filepath.Join(d, "*"))
		if err != nil || len(left) > 0 && !(d == dir && len(left) == 1) {
			t.Errorf("left in %s: %v, %v", d, left, err)
		}
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
	content := bytes.Repeat([]byte("state"), 1000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote(rpcserver.EarlySyncStep - 1)
	if syncing() {
		t.Error("it syncs though there is little to do")
	}
	wrote(1)
	if !syncing() {
		t.Error("nothing is synced, though there is much to do")
	}
	for range 10 {
		wrote(rpcserver.EarlySyncStep)
	}
	if err := end(); err != nil {
		t.Errorf("a sync has failed: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file has changed: %d bytes, %v", len(got), err)
	}
	wrote, _, end = rpcserver.EarlySync(path + " is not there")
	wrote(rpcserver.EarlySyncStep)
	if end() == nil {
		t.Error("a sync that fails is forgotten")
	}
}

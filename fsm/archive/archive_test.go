package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"praetor/fsm/archive"
)

// fixture is a snapshot that a real Consul 1.21.4 saved.
const fixture = "testdata/consul-1.21.4.snap"

func meta(state []byte) *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: 1,
		ID:      "2-413-1795400563159",
		Index:   413,
		Term:    2,
		Peers:   []byte("\x91\xaf127.0.0.1:38300"),
		Configuration: raft.Configuration{Servers: []raft.Server{
			{Suffrage: raft.Voter, ID: "3c3ca9ba-66fa-34b5-b435-f444d0c3f2b2", Address: "127.0.0.1:38300"},
			{Suffrage: raft.Nonvoter, ID: "9e4d3c45-3d5f-4a58-a1a9-5d1f7f5c2d11", Address: "127.0.0.1:38310"},
		}},
		ConfigurationIndex: 1,
		Size:               int64(len(state)),
	}
}

// member is a file in a tar made by hand.
type member struct {
	name, content string
	kind          byte // tar.TypeReg if zero
}

// sound returns the members of a good archive, to be damaged.
func sound(state string) []member {
	m, _ := json.Marshal(meta([]byte(state)))
	files := []member{{name: "meta.json", content: string(m) + "\n"}, {name: "state.bin", content: state}}
	return append(files, member{name: "SHA256SUMS", content: sums(files...)})
}

func sums(files ...member) string {
	var lines strings.Builder
	for _, f := range files {
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256([]byte(f.content)), f.name)
	}
	return lines.String()
}

func tarOf(t testing.TB, files ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if f.kind != 0 {
			h.Typeflag = f.kind
		}
		if f.kind == tar.TypeSymlink {
			h.Size, h.Linkname = 0, "elsewhere"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, f.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func snap(t testing.TB, files ...member) []byte {
	t.Helper()
	return gz(t, tarOf(t, files...))
}

func mustWrite(t testing.TB, state string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := archive.Write(&b, meta([]byte(state)), strings.NewReader(state)); err != nil {
		t.Fatalf("Write: %v", err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]string{
		"empty": "",
		"small": "hello",
		"big":   string(kvState(3 << 20)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var state2 bytes.Buffer
			got, err := archive.Read(bytes.NewReader(mustWrite(t, state)), &state2)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(meta([]byte(state)), got); diff != "" {
				t.Errorf("meta (-want +got):\n%s", diff)
			}
			if state2.String() != state {
				t.Errorf("state: got %d bytes that differ from the %d written", state2.Len(), len(state))
			}
		})
	}
}

// What we write from Consul's meta.json and state.bin is, but for the time, the tar that Consul wrote.
func TestConsulFixture(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	var state bytes.Buffer
	m, err := archive.Read(bytes.NewReader(file), &state)
	if err != nil {
		t.Fatal(err)
	}
	want := &raft.SnapshotMeta{
		Version: 1,
		ID:      "2-413-1795400563159",
		Index:   413,
		Term:    2,
		Peers:   []byte("\x91\xaf127.0.0.1:38300"),
		Configuration: raft.Configuration{Servers: []raft.Server{
			{ID: "3c3ca9ba-66fa-34b5-b435-f444d0c3f2b2", Address: "127.0.0.1:38300"},
		}},
		ConfigurationIndex: 1,
		Size:               600760,
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("meta (-want +got):\n%s", diff)
	}

	var ours bytes.Buffer
	if err := archive.Write(&ours, m, &state); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(untar(t, file), untar(t, ours.Bytes())); diff != "" {
		t.Errorf("members (-Consul's +ours):\n%s", diff)
	}
}

// untar returns each member's header, without its time, and its content.
func untar(t *testing.T, file []byte) (members []string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, fmt.Sprintf("%s type %c mode %o owner %d:%d format %s sha256 %x",
			h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Format, sha256.Sum256(content)))
	}
}

func TestAnyOrder(t *testing.T) {
	t.Parallel()
	f := sound("some state")
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		file := snap(t, f[order[0]], f[order[1]], f[order[2]])
		if _, err := archive.Verify(bytes.NewReader(file)); err != nil {
			t.Errorf("order %v: %v", order, err)
		}
	}
	swapped := member{name: "SHA256SUMS", content: sums(f[1], f[0])}
	if _, err := archive.Verify(bytes.NewReader(snap(t, f[0], f[1], swapped))); err != nil {
		t.Errorf("state.bin first in SHA256SUMS: %v", err)
	}
}

// A gzip file may consist of several streams; `cat a.gz b.gz` is one.
func TestSeveralStreams(t *testing.T) {
	t.Parallel()
	whole := tarOf(t, sound("some state")...)
	file := append(gz(t, whole[:700]), gz(t, whole[700:])...)
	if _, err := archive.Verify(bytes.NewReader(file)); err != nil {
		t.Errorf("one tar in two gzip streams: %v", err)
	}
	// A reader that gives one byte at a time finds the seams that a large buffer hides.
	if _, err := archive.Verify(iotest.OneByteReader(bytes.NewReader(file))); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk is gone")
	for _, tt := range []struct {
		name   string
		change func(*raft.SnapshotMeta)
		state  io.Reader
		want   string
	}{
		{"state too short", nil, strings.NewReader("abc"), "content ends after 3 bytes, not after 5"},
		{"state too long", nil, strings.NewReader("abcdef"), "content goes on after 5 bytes"},
		{"state fails", nil, io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), "disk is gone"},
		{"state fails at its end", nil, io.MultiReader(strings.NewReader("abcde"), iotest.ErrReader(broken)), "disk is gone"},
		{"version", func(m *raft.SnapshotMeta) { m.Version = 2 }, nil, "unsupported snapshot version 2"},
		{"size", func(m *raft.SnapshotMeta) { m.Size = -1 }, nil, "negative size"},
		{"index", func(m *raft.SnapshotMeta) { m.Index = 0 }, nil, "no raft index"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := meta([]byte("abcde"))
			if tt.change != nil {
				tt.change(m)
			}
			var out bytes.Buffer
			err := archive.Write(&out, m, tt.state)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
			if errors.Is(err, archive.ErrCorrupt) {
				t.Errorf("%v is ErrCorrupt, but there was no archive yet", err)
			}
			if _, err := archive.Verify(&out); !errors.Is(err, archive.ErrCorrupt) {
				t.Errorf("reading what was written: got error %v, want ErrCorrupt", err)
			}
		})
	}
}

// Failing to read or write says nothing about the archive, and the cause can be asked for.
func TestFaultsAreNotCorruption(t *testing.T) {
	t.Parallel()
	file := mustWrite(t, string(kvState(200<<10)))
	broken := errors.New("cable is gone")
	for _, at := range []int{0, 1, 5, 100, len(file) / 2, len(file) - 1, len(file)} {
		for _, fault := range []error{broken, io.ErrUnexpectedEOF} { // the latter is what net/http says of a cut body
			_, err := archive.Verify(io.MultiReader(bytes.NewReader(file[:at]), iotest.ErrReader(fault)))
			if !errors.Is(err, fault) || errors.Is(err, archive.ErrCorrupt) {
				t.Errorf("%v after %d bytes: got error %v", fault, at, err)
			}
		}
	}
	// A reader that fails once and then goes on must not get away with it.
	for at := range 20 {
		_, err := archive.Verify(iotest.TimeoutReader(io.MultiReader(bytes.NewReader(file[:at]), bytes.NewReader(file[at:]))))
		if !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("timeout after %d bytes: got error %v", at, err)
		}
	}
	_, err := archive.Read(bytes.NewReader(file), failingWriter{broken})
	if !errors.Is(err, broken) || errors.Is(err, archive.ErrCorrupt) {
		t.Errorf("writer fails: got error %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

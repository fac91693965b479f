package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/fsm/archive"
)

func TestDamage(t *testing.T) {
	t.Parallel()
	const state = "some state"
	f := sound(state)
	meta, bin, list := f[0], f[1], f[2]
	good := snap(t, f...)
	sumsOf := func(files ...member) member { return member{name: "SHA256SUMS", content: sums(files...)} }
	withMeta := func(json string) []byte {
		m := member{name: "meta.json", content: json}
		return snap(t, m, bin, sumsOf(m, bin))
	}
	changed := func(old, new string) []byte {
		if !strings.Contains(meta.content, old) {
			t.Fatalf("meta.json has no %s", old)
		}
		return withMeta(strings.Replace(meta.content, old, new, 1))
	}
	wholeTar := tarOf(t, f...)

	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty file", nil, "failed to decompress snapshot: the file is empty"},
		{"text file", []byte("this is a text file"), "failed to decompress snapshot: gzip: invalid header (not a gzip file)"},
		{"one foreign byte", []byte("x"), "failed to decompress snapshot: gzip: invalid header (not a gzip file)"},
		{"tar without gzip", wholeTar, "failed to decompress snapshot: gzip: invalid header (not a gzip file)"},
		{"gzip of an unknown method", []byte("\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x00"), "failed to decompress snapshot: gzip: invalid header"},
		{"one byte of gzip", good[:1], "failed to decompress snapshot: unexpected EOF (the file ends early)"},
		{"cut short", good[:len(good)/2], "failed to decompress snapshot: unexpected EOF (the file ends early)"},
		{"cut by one byte", good[:len(good)-1], "failed to decompress snapshot: unexpected EOF (the file ends early)"},
		{"gzip checksum", slices.Concat(good[:len(good)-8], []byte("oops"), good[len(good)-4:]), "failed to decompress snapshot: gzip: invalid checksum"},

		{"gzip of text", gz(t, bytes.Repeat([]byte("a text "), 200)), "failed reading snapshot: there is no tar inside: archive/tar: invalid tar header"},
		{"gzip of a short text", gz(t, []byte("a text")), "failed reading snapshot: the tar inside ends early: unexpected EOF"},
		{"gzip of nothing", gz(t, nil), "failed reading snapshot: the tar inside has no members"},
		{"tar of nothing", snap(t), "failed reading snapshot: the tar inside has no members"},
		{"tar ends in a header", gz(t, wholeTar[:1300]), "failed reading snapshot: the tar inside ends early: unexpected EOF"},
		{"tar ends in a member", gz(t, wholeTar[:600]), `failed reading snapshot: "meta.json" ends early: unexpected EOF`},
		{"tar damaged behind a member", gz(t, slices.Concat(wholeTar[:1024], bytes.Repeat([]byte("x"), 512))), "failed reading snapshot: the tar inside is damaged: archive/tar: invalid tar header"},

		{"unknown member", snap(t, meta, bin, list, member{name: "notes.txt"}), `unexpected file "notes.txt" in snapshot`},
		{"member in a folder", snap(t, member{name: "./meta.json", content: meta.content}, bin, list), `unexpected file "./meta.json" in snapshot`},
		{"state.bin twice", snap(t, meta, bin, bin, list), `file "state.bin" is in snapshot twice`},
		{"meta.json twice", snap(t, meta, bin, list, meta), `file "meta.json" is in snapshot twice`},
		{"SHA256SUMS twice", snap(t, meta, bin, list, list), `file "SHA256SUMS" is in snapshot twice`},
		{"link", snap(t, meta, member{name: "state.bin", kind: tar.TypeSymlink}, list), `file "state.bin" in snapshot is not a regular file`},
		{"folder", snap(t, member{name: "state.bin", kind: tar.TypeDir}, meta, list), `file "state.bin" in snapshot is not a regular file`},
		{"sparse file", gz(t, sparse(t, "state.bin", 1<<40)), `file "state.bin" in snapshot is not a regular file`},
		{"huge meta.json", withMeta(strings.Repeat(" ", 1<<20) + meta.content), fmt.Sprintf(`file "meta.json" in snapshot is too large: %d bytes, the limit is 1048576`, 1<<20+len(meta.content))},
		{"huge SHA256SUMS", snap(t, meta, bin, member{name: "SHA256SUMS", content: strings.Repeat(list.content, 7000)}), fmt.Sprintf(`file "SHA256SUMS" in snapshot is too large: %d bytes, the limit is 1048576`, 7000*len(list.content))},

		{"other state", snap(t, meta, member{name: "state.bin", content: "SOME STATE"}, list), `failed checking integrity of snapshot: hash check failed for "state.bin"`},
		{"other meta", snap(t, member{name: "meta.json", content: " " + meta.content}, bin, list), `failed checking integrity of snapshot: hash check failed for "meta.json"`},
		{"no SHA256SUMS", snap(t, meta, bin), "failed checking integrity of snapshot: SHA256SUMS is missing"},
		{"empty SHA256SUMS", snap(t, meta, bin, sumsOf()), `failed checking integrity of snapshot: file missing for "meta.json": SHA256SUMS does not list it`},
		{"sum of state.bin missing", snap(t, meta, bin, sumsOf(meta)), `failed checking integrity of snapshot: file missing for "state.bin": SHA256SUMS does not list it`},
		{"sum of meta.json missing", snap(t, meta, bin, sumsOf(bin)), `failed checking integrity of snapshot: file missing for "meta.json": SHA256SUMS does not list it`},
		{"sum of another file", snap(t, meta, bin, sumsOf(meta, bin, member{name: "notes.txt"})), `failed checking integrity of snapshot: list missing hash for "notes.txt": SHA256SUMS names it, but it is no part of a snapshot`},
		{"state.bin missing", snap(t, meta, list), `failed checking integrity of snapshot: hash check failed for "state.bin": it is not in the archive`},
		{"state.bin missing where it should be empty", snap(t, meta, sumsOf(meta, member{name: "state.bin"})), `failed checking integrity of snapshot: hash check failed for "state.bin": it is not in the archive`},
		{"meta.json missing", snap(t, bin, list), `failed checking integrity of snapshot: hash check failed for "meta.json": it is not in the archive`},
		{"state.bin missing everywhere", snap(t, meta, sumsOf(meta)), `failed checking integrity of snapshot: file missing for "state.bin": SHA256SUMS does not list it`},
		{"second sum of a file is wrong", snap(t, meta, bin, member{name: "SHA256SUMS", content: list.content + sums(member{name: "state.bin"})}), `failed checking integrity of snapshot: hash check failed for "state.bin"`},
		{"sum is not hex", snap(t, meta, bin, member{name: "SHA256SUMS", content: "zz" + list.content[2:]}), "failed checking integrity of snapshot: SHA256SUMS has a line that is no checksum: "},
		{"sum is short", snap(t, meta, bin, member{name: "SHA256SUMS", content: list.content[2:]}), "failed checking integrity of snapshot: SHA256SUMS has a line that is no checksum: "},
		{"one space in a sum", snap(t, meta, bin, member{name: "SHA256SUMS", content: strings.Replace(list.content, "  ", " ", 1)}), "failed checking integrity of snapshot: SHA256SUMS has a line that is no checksum: "},

		{"meta.json is not JSON", withMeta("hello\n"), "failed to decode snapshot metadata: invalid character 'h' looking for beginning of value"},
		{"meta.json is cut", withMeta(meta.content[:40]), "failed to decode snapshot metadata: unexpected end of JSON input"},
		{"meta.json goes on", withMeta(meta.content + "{}"), "failed to decode snapshot metadata: invalid character '{' after top-level value"},
		{"meta.json is empty", withMeta(""), "failed to decode snapshot metadata: unexpected end of JSON input"},
		{"meta.json of something else", withMeta(`{"name":"praetor"}`), "snapshot metadata has no raft index"},
		{"meta.json is null", withMeta("null"), "snapshot metadata has no raft index"},
		{"version of the future", changed(`"Version":1`, `"Version":2`), "unsupported snapshot version 2"},
		{"version below all", changed(`"Version":1`, `"Version":-1`), "unsupported snapshot version -1"},
		{"size too large", changed(`"Size":10`, `"Size":11`), "failed checking integrity of snapshot: size didn't match, state.bin has 10 bytes and meta.json says 11"},
		{"size too small", changed(`"Size":10`, `"Size":9`), "failed checking integrity of snapshot: size didn't match, state.bin has 10 bytes and meta.json says 9"},
		{"size negative", changed(`"Size":10`, `"Size":-10`), "snapshot metadata has a negative size (-10)"},

		{"data after the tar", gz(t, slices.Concat(wholeTar, []byte("extra"))), "5 unread uncompressed bytes remain"},
		{"zeros after the tar", gz(t, slices.Concat(wholeTar, make([]byte, 512))), "512 unread uncompressed bytes remain"},
		{"two archives", slices.Concat(good, good), fmt.Sprintf("%d unread uncompressed bytes remain", len(wholeTar))},
		{"one byte after the file", slices.Concat(good, []byte{0}), "failed to decompress snapshot: the file goes on after the end of the snapshot: unexpected EOF"},
		{"text after the file", slices.Concat(good, []byte("some more text")), "failed to decompress snapshot: the file goes on after the end of the snapshot: gzip: invalid header"},
		{"half an archive after the file", slices.Concat(good, good[:len(good)-20]), "failed to decompress snapshot: unexpected EOF (the file ends early)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := archive.Verify(bytes.NewReader(tt.file))
			if err == nil || m != nil {
				t.Fatalf("accepted: %v", m)
			}
			if got := err.Error(); got != tt.want && !(strings.HasSuffix(tt.want, ": ") && strings.HasPrefix(got, tt.want)) {
				t.Errorf("error:\n got %s\nwant %s", got, tt.want)
			}
			if !errors.Is(err, archive.ErrCorrupt) {
				t.Error("error is not ErrCorrupt")
			}
		})
	}
}

// sparse makes a tar by hand whose one member is a few bytes long but stands for size zeros (GNU format 1.0 in PAX
// records), which the tar package reads but does not write.
func sparse(t *testing.T, name string, size int64) []byte {
	t.Helper()
	record := func(key, value string) string {
		s := fmt.Sprintf(" %s=%s\n", key, value)
		for n := len(s) + 1; ; n++ {
			if line := fmt.Sprint(n) + s; len(line) == n {
				return line
			}
		}
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
		record("GNU.sparse.name", name) + record("GNU.sparse.realsize", fmt.Sprint(size))
	holes := fmt.Sprintf("1\n%d\n0\n", size)
	holes += strings.Repeat("\x00", 512-len(holes))
	file := tarOf(t, member{name: "PaxHeaders.0/x", content: pax}, member{name: name, content: holes})

	// Turn the first member into the second one's extended header: type 'x', and the header's checksum again.
	file[156] = tar.TypeXHeader
	copy(file[148:156], "        ")
	sum := 0
	for _, b := range file[:512] {
		sum += int(b)
	}
	copy(file[148:156], fmt.Sprintf("%06o\x00 ", sum))

	h, err := tar.NewReader(bytes.NewReader(file)).Next()
	if err != nil || h.Name != name || h.Size != size {
		t.Fatalf("the sparse file is not one: %+v, %v", h, err)
	}
	return file
}

// A tar that lacks only its end marker (two zero blocks) has lost nothing; Consul takes it too.
func TestNoTarEnd(t *testing.T) {
	t.Parallel()
	whole := tarOf(t, sound("some state")...)
	for _, n := range []int{512, 1024} {
		if _, err := archive.Verify(bytes.NewReader(gz(t, whole[:len(whole)-n]))); err != nil {
			t.Errorf("without the last %d bytes: %v", n, err)
		}
	}
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	file := mustWrite(t, "some state")
	for n := range file {
		if _, err := archive.Verify(bytes.NewReader(file[:n])); !errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("cut to %d of %d bytes: got error %v, want ErrCorrupt", n, len(file), err)
		}
	}
	whole := tarOf(t, sound("some state")...)
	for n := range whole {
		checkSameOrRefused(t, fmt.Sprintf("tar cut to %d bytes", n), stored(whole[:n]))
	}
}

// Every changed bit is found, or it changes nothing: then it stands in gzip's header or padding, or is another way to
// compress the same bytes.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	file := mustWrite(t, "some state")
	for i := range file {
		for bit := range 8 {
			flipped := bytes.Clone(file)
			flipped[i] ^= 1 << bit
			what := fmt.Sprintf("byte %d of %d, bit %d", i, len(file), bit)
			if checkSameOrRefused(t, what, flipped) && !bytes.Equal(gunzip(t, flipped), gunzip(t, file)) {
				t.Errorf("%s: accepted, and the tar inside is not the same", what)
			}
		}
	}
	whole := tarOf(t, sound("some state")...)
	for i := range whole {
		whole[i] ^= 1
		checkSameOrRefused(t, fmt.Sprintf("byte %d of the tar", i), stored(whole))
		whole[i] ^= 1
	}
}

func gunzip(t *testing.T, file []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// stored is a quick gzip of up to 65535 bytes: one block that is not compressed.
func stored(content []byte) []byte {
	n := uint16(len(content))
	b := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01")
	b = binary.LittleEndian.AppendUint16(b, n)
	b = binary.LittleEndian.AppendUint16(b, ^n)
	b = append(b, content...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(content))
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

// checkSameOrRefused reports whether file is accepted. If so it must say what mustWrite(t, "some state") says.
func checkSameOrRefused(t *testing.T, what string, file []byte) bool {
	t.Helper()
	var state bytes.Buffer
	m, err := archive.Read(bytes.NewReader(file), &state)
	if err != nil {
		if !errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("%s: %v is not ErrCorrupt", what, err)
		}
		return false
	}
	if diff := cmp.Diff(meta([]byte("some state")), m); diff != "" || state.String() != "some state" {
		t.Errorf("%s: accepted with state %q and meta (-want +got):\n%s", what, state.String(), diff)
	}
	return true
}

func TestSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := archive.Spool(dir, bytes.NewReader(mustWrite(t, "some state")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(meta([]byte("some state")), s.Meta); diff != "" {
		t.Errorf("meta (-want +got):\n%s", diff)
	}
	var state bytes.Buffer
	if _, err := state.ReadFrom(s.File); err != nil || state.String() != "some state" {
		t.Errorf("got state %q, error %v", state.String(), err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	checkEmpty(t, dir)
}

func TestSpoolRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := archive.Spool(dir, strings.NewReader("this is a text file"))
	if s != nil || !errors.Is(err, archive.ErrCorrupt) || !errors.Is(err, gzip.ErrHeader) {
		t.Errorf("text file: got %v, error %v", s, err)
	}
	checkEmpty(t, dir)
	if _, err := archive.Spool(dir+"/missing", strings.NewReader("")); !errors.Is(err, os.ErrNotExist) || errors.Is(err, archive.ErrCorrupt) {
		t.Errorf("missing folder: got error %v", err)
	}
}

// A disk that takes no more says nothing about the archive, wherever in it that is.
func TestFillFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := errors.New("disk is gone")
	for _, size := range []int{0, 10, 3 << 20} {
		file := mustWrite(t, string(kvState(3<<20)))
		s, err := archive.NewSpool(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Fill(bytes.NewReader(file), &limited{size, broken})
		if !errors.Is(err, broken) && size < 3<<20 || err != nil && size == 3<<20 || errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("a disk of %d bytes: got error %v", size, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	checkEmpty(t, dir)
}

// limited takes some bytes.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, l.err
	}
	l.left -= len(p)
	return len(p), nil
}

// What has got a name stays.
func TestLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := archive.Spool(dir, bytes.NewReader(mustWrite(t, "some state")))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "kept")
	err = s.Link(name)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Link(name); !errors.Is(err, os.ErrExist) {
		t.Errorf("a name that is taken: got error %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "some state" {
		t.Errorf("got %q, %v", got, err)
	}
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 0 {
		t.Errorf("%s: got %v, error %v, want nothing left", dir, files, err)
	}
}

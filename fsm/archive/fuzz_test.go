package archive_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/fsm/archive"
)

// FuzzRead gives Read any file. Damaged seeds stand in testdata/fuzz, named for what ails them.
func FuzzRead(f *testing.F) {
	file, err := os.ReadFile(fixture)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add(mustWrite(f, "some state"))
	f.Fuzz(checkRead)
}

// FuzzReadTar puts any tar into a sound gzip file, whose checksum keeps FuzzRead from getting further.
func FuzzReadTar(f *testing.F) {
	files := sound("some state")
	f.Add(tarOf(f, files...))
	f.Add(tarOf(f, files[2], files[1], files[0]))
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) < 1<<16 {
			checkRead(t, stored(content))
		}
	})
}

// checkRead: a file is refused as corrupt, or what was read from it can be written and read again.
func checkRead(t *testing.T, file []byte) {
	var state bytes.Buffer
	m, err := archive.Read(bytes.NewReader(file), &state)
	if err != nil {
		if m != nil || !errors.Is(err, archive.ErrCorrupt) {
			t.Fatalf("got meta %v and error %v, want none and ErrCorrupt", m, err)
		}
		return
	}
	var again bytes.Buffer
	if err := archive.Write(&again, m, bytes.NewReader(state.Bytes())); err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	var state2 bytes.Buffer
	m2, err := archive.Read(&again, &state2)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	if diff := cmp.Diff(m, m2); diff != "" || !bytes.Equal(state.Bytes(), state2.Bytes()) {
		t.Fatalf("state differs or meta does (-first +second):\n%s", diff)
	}
}

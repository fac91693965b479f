package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"praetor/fsm"
	"praetor/structs"
)

// ready is a source that was loaded before, and cannot be read.
type ready struct {
	at
	loaded *fsm.Loaded
}

func (r ready) Ready() *fsm.Loaded { return r.loaded }

type unreadable struct{}

func (unreadable) Read([]byte) (int, error) { return 0, errors.New("read") }

// What is taken over is what would be loaded: rows, parts of large entries, epoch
// and where the history begins.
func TestTakeOverIsAsLoading(t *testing.T) {
	t.Parallel()
	source := fsm.New()
	parts := split(t, 5, 2, 77, 3, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "large", Value: []byte("value")}})
	source.Apply(entry(t, 2, &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "k", Value: []byte("v")}}))
	for _, log := range parts[:2] {
		source.Apply(log)
	}
	view := source.View()
	if last := parts[1]; view.Index != last.Index || view.Term != last.Term {
		t.Errorf("the view is of %d, term %d; want %d, term %d", view.Index, view.Term, last.Index, last.Term)
	}
	restored := append(stream(t, view), begun(t, "two")...)
	loaded, err := fsm.Load(bytes.NewReader(restored))
	if err != nil {
		t.Fatal(err)
	}
	took, loads := fsm.New(), fsm.New()
	if err := took.Restore(ready{at{unreadable{}, 100}, loaded}); err != nil {
		t.Fatal(err)
	}
	if err := loads.Restore(at{bytes.NewReader(restored), 100}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*fsm.FSM{took, loads} {
		if view := f.View(); view.Index != 100 || view.Term != 1 {
			t.Errorf("the view is of %d, term %d; want 100, term 1", view.Index, view.Term)
		}
		if at := f.Store().Applied(); at != 100 {
			t.Errorf("the history begins at %d, want 100", at)
		}
		wantEpoch(t, f, "two", 100)
		parts[2].Index = 101
		f.Apply(parts[2])
		if e := f.Store().Read().KV("large"); e == nil || string(e.Value) != "value" {
			t.Errorf("the large entry did not come together: %+v", e)
		}
	}
	if a, b := stream(t, took.View()), stream(t, loads.View()); !bytes.Equal(a, b) {
		t.Error("the states differ")
	}
}

// Of two errors, that of the earlier record is told, though later ones are
// decoded before it is restored; and nothing goes on reading.
func TestLoadTellsTheFirstError(t *testing.T) {
	t.Parallel()
	foreign := nodeRecord("", "n", 5) // its check is another node's
	foreign.Check = &structs.HealthCheck{Node: "other", CheckID: "c"}
	junk := append(records(t, 9, foreign), byte(structs.KVSRequestType), 0xc1)
	for name, stream := range map[string]io.Reader{
		"junk behind it":    bytes.NewReader(junk),
		"much behind it":    io.MultiReader(bytes.NewReader(records(t, 9, foreign)), bytes.NewReader(keyStream(t, 50_000)[12:])),
		"a failing network": io.MultiReader(bytes.NewReader(records(t, 9, foreign)), unreadable{}),
	} {
		if _, err := fsm.Load(stream); !structs.IsCode(err, structs.Corrupt) || !strings.Contains(err.Error(), "another node") {
			t.Errorf("%s: got %v, want what is wrong with the check", name, err)
		}
	}
}

// A load that is fed tells of its own error, and of the writer's before that.
func TestLoading(t *testing.T) {
	t.Parallel()
	good := keyStream(t, 1000)
	broken := errors.New("broken off")
	for name, test := range map[string]struct {
		stream []byte
		end    error
		want   func(error) bool
	}{
		"good":                    {good, nil, func(err error) bool { return err == nil }},
		"good, broken off":        {good, broken, func(err error) bool { return err == broken }},
		"cut":                     {good[:len(good)-1], nil, func(err error) bool { return structs.IsCode(err, structs.Corrupt) }},
		"bad early, long":         {append([]byte{0xc1}, good...), nil, func(err error) bool { return structs.IsCode(err, structs.Corrupt) }},
		"bad early, broken off":   {append([]byte{0xc1}, good...), broken, func(err error) bool { return err == broken }},
		"nothing, and broken off": {nil, broken, func(err error) bool { return err == broken }},
	} {
		l := fsm.StartLoad()
		for part := range bytes.Lines(test.stream) {
			if n, err := l.Write(part); n != len(part) || err != nil {
				t.Errorf("%s: write: %d, %v", name, n, err)
			}
		}
		loaded, err := l.Finish(test.end)
		if !test.want(err) || (loaded == nil) != (err != nil) {
			t.Errorf("%s: got %v, %v", name, loaded, err)
		}
	}
}

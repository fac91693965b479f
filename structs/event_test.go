package structs_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/structs"
)

// The form of consul-wire.md 4.4: short names, empty fields left out, bytes as
// bin and strings with the forms that only came with it.
func TestUserEventOnTheWire(t *testing.T) {
	t.Parallel()
	const id = "b54fe110-7af5-cafc-d1fb-afc8ba432b1c"
	for _, test := range []struct {
		name  string
		event structs.UserEvent
		want  string
	}{
		{"bare", structs.UserEvent{ID: id, Name: "deploy", Version: 1, LTime: 9},
			"83" + "a24944" + "d924" + hex.EncodeToString([]byte(id)) + "a16e" + "a66465706c6f79" + "a176" + "01"},
		{"full", structs.UserEvent{ID: id, Name: "d", Payload: []byte("go"), NodeFilter: "n", ServiceFilter: "s", TagFilter: "t", Version: 1},
			"87" + "a24944" + "d924" + hex.EncodeToString([]byte(id)) + "a16e" + "a164" + "a26e66" + "a16e" + "a170" + "c402676f" +
				"a27366" + "a173" + "a27466" + "a174" + "a176" + "01"},
	} {
		got, err := structs.EncodeUserEvent(&test.event)
		if err != nil || hex.EncodeToString(got) != test.want {
			t.Errorf("%s: got  %x, %v\nwant %s", test.name, got, err, test.want)
		}
		back, err := structs.DecodeUserEvent(got)
		want := test.event
		want.LTime = 0 // gossip has it
		if diff := cmp.Diff(&want, back); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", test.name, err, diff)
		}
	}
}

func TestUserEventJunk(t *testing.T) {
	t.Parallel()
	for _, junk := range []string{"", "c1", "83a24944", "93010203", "81a170" + "c6ffffffff", strings.Repeat("91", 500)} {
		b, err := hex.DecodeString(junk)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := structs.DecodeUserEvent(b); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("%s: got %+v, %v, want code Invalid", junk, e, err)
		}
	}
}

func TestUserEventIndex(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]uint64{
		"b54fe110-7af5-cafc-d1fb-afc8ba432b1c": 0xb54fe1107af5cafc ^ 0xd1fbafc8ba432b1c,
		"nonsense":                             0,
		"b54fe1107af5":                         0,
	} {
		if got := (&structs.UserEvent{ID: id}).Index(); got != want {
			t.Errorf("%s: got %x, want %x", id, got, want)
		}
	}
}

package rpcserver_test

import (
	"testing"

	"praetor/rpcserver"
	"praetor/structs"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	hash := func(h, build string) structs.StateHash {
		return structs.StateHash{Index: 7, Hash: []byte(h), Build: build}
	}
	a, b, c := hash("a", "1"), hash("b", "1"), hash("c", "1")
	earlier := a
	earlier.Index = 6
	for name, test := range map[string]struct {
		others  []structs.StateHash
		servers int
		want    string
	}{
		"all agree":                            {[]structs.StateHash{a, a}, 3, "agreed"},
		"one is down":                          {[]structs.StateHash{a}, 3, "agreed"},
		"another one differs":                  {[]structs.StateHash{a, b}, 3, "agreed"},
		"ours differs":                         {[]structs.StateHash{b, b}, 3, "wrong"},
		"ours differs, before all answered":    {[]structs.StateHash{b, b, b}, 5, "wrong"},
		"half of an even number is not more":   {[]structs.StateHash{b, b}, 4, "disputed"},
		"two agree, three others do":           {[]structs.StateHash{a, b, b, b}, 5, "wrong"},
		"two servers":                          {[]structs.StateHash{b}, 2, "disputed"},
		"one differs and one is down":          {[]structs.StateHash{b}, 3, "disputed"},
		"each differs":                         {[]structs.StateHash{b, c}, 3, "disputed"},
		"nobody answers":                       {nil, 3, "undecided"},
		"two of five answer":                   {[]structs.StateHash{a}, 5, "undecided"},
		"others of another build do not count": {[]structs.StateHash{hash("b", "2"), hash("b", "2")}, 3, "undecided"},
		"others are at another entry":          {[]structs.StateHash{earlier, earlier}, 3, "undecided"},
	} {
		if got := rpcserver.Judge(a, test.others, test.servers); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

package main

import (
	"slices"
	"strings"
	"testing"
)

// sampleReport is of an area with one test of each fate, and one of nothing but a test that passed.
func sampleReport(t *testing.T) *report {
	return &report{version: "v1.0.0", rows: []row{
		newRow("KV", []string{"TestPass", "TestFail", "TestSkip", "TestPart", "TestCut", "TestLost", "TestAPI_CatalogConnect", "TestAPI_Snapshot_Options"}, sample(t)),
		newRow("Txn", []string{"TestPass"}, map[string]*result{"TestPass": {outcome: passed}}),
	}}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	const want = "Tests of `github.com/hashicorp/consul/api` v1.0.0:" + `

| area | passed | failed | skipped | total | left out |
|---|---|---|---|---|---|
| KV | 2 | 4 | 1 | 8 | 1 |
| Txn | 1 | 0 | 0 | 1 | 0 |
| all | 3 | 4 | 1 | 9 | 1 |

Failed:

- ''TestFail'': kv_test.go:12: bad: x
- ''TestCut'': it did not finish
- ''TestLost'': it was not run
- ''TestAPI_Snapshot_Options'': KNOWN

Skipped, in whole or in part:

- ''TestPart/sub'': it says nothing about it
- ''TestSkip'': kv_test.go:7: not here

Left out:

- ''TestAPI_CatalogConnect'': service mesh
`
	got := strings.ReplaceAll(sampleReport(t).markdown(), known["TestAPI_Snapshot_Options"], "KNOWN")
	if want := strings.ReplaceAll(want, "''", "`"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	names := func(problems []string) (names []string) {
		for _, p := range problems {
			name, _, _ := strings.Cut(p, " ")
			names = append(names, name)
		}
		return names
	}
	all := []string{"TestFail", "TestCut", "TestLost", "TestAPI_Snapshot_Options", "TestSkip", "TestPart/sub"}
	slices.Sort(all)
	for _, allowKnown := range []bool{false, true} {
		got := names(sampleReport(t).problems(allowKnown))
		want := slices.DeleteFunc(slices.Clone(all), func(test string) bool { return allowKnown && known[test] != "" })
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("known failures allowed %v: got %q, want %q", allowKnown, got, want)
		}
	}
	healed := &report{rows: []row{newRow("Snapshot", []string{"TestAPI_Snapshot_Options"},
		map[string]*result{"TestAPI_Snapshot_Options": {outcome: passed}})}}
	if got := healed.problems(true); len(got) != 1 {
		t.Errorf("a known failure that passes: got %q, want it to be a problem", got)
	}
}

func TestReplacePart(t *testing.T) {
	t.Parallel()
	got, err := replacePart("head\n"+begin+"old\n"+end+"tail\n", "new\n")
	if want := "head\n" + begin + "new\n" + end + "tail\n"; got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, document := range []string{"", begin, end, end + begin} {
		if got, err := replacePart(document, "new"); err == nil {
			t.Errorf("%q: got %q, want an error", document, got)
		}
	}
}

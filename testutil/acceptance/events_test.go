package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// What `go tool test2json` prints about a test that passes, one that fails in a subtest and is followed by its server's
// log, one that skips itself, one with a skipped subtest, and one that is cut off by a panic.
const events = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestPass"}
{"Action":"output","Package":"p","Test":"TestPass","Output":"--- PASS: TestPass (0.00s)\n"}
{"Action":"pass","Package":"p","Test":"TestPass","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestFail","Output":"    server.go:342: CONFIG JSON: {}\n"}
{"Action":"output","Package":"p","Test":"TestFail/sub","Output":"        \tError:      \tNot equal:\n"}
{"Action":"output","Package":"p","Test":"TestFail/sub","Output":"        \t            \texpected 1\n"}
{"Action":"fail","Package":"p","Test":"TestFail/sub","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestFail","Output":"    kv_test.go:12: bad: x\n"}
{"Action":"output","Package":"p","Test":"TestFail","Output":"         Version: 0.1.0\n"}
{"Action":"output","Package":"p","Test":"TestFail","Output":"2026-11-25T22:04:33.123Z [INFO]  agent: kv_test.go:1: x\n"}
{"Action":"fail","Package":"p","Test":"TestFail","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"    kv_test.go:7: not here\n"}
{"Action":"skip","Package":"p","Test":"TestSkip","Elapsed":0}
{"Action":"skip","Package":"p","Test":"TestPart/sub","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestPart","Elapsed":0}
{"Action":"run","Package":"p","Test":"TestCut"}
{"Action":"output","Package":"p","Test":"TestCut","Output":"panic: index out of range\n"}
{"Action":"fail","Package":"p","Elapsed":0}
`

func sample(t *testing.T) map[string]*result {
	t.Helper()
	results, err := readEvents(strings.NewReader(events), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestReadEvents(t *testing.T) {
	t.Parallel()
	results := sample(t)
	for _, tt := range []struct {
		test    string
		outcome outcome
		remarks []string
		skips   []string
	}{
		{"TestPass", passed, nil, nil},
		{"TestFail", failed, []string{"Error:      \tNot equal:", "expected 1", "kv_test.go:12: bad: x"}, nil},
		{"TestSkip", skipped, []string{"kv_test.go:7: not here"}, []string{"TestSkip"}},
		{"TestPart", passed, nil, []string{"TestPart/sub"}},
		{"TestCut", "", []string{"panic: index out of range"}, nil},
	} {
		got := results[tt.test]
		if got.outcome != tt.outcome || !slices.Equal(got.remarks(), tt.remarks) || !slices.Equal(got.skips, tt.skips) {
			t.Errorf("%s: got %q, %q, %q; want %q, %q, %q", tt.test, got.outcome, got.remarks(), got.skips, tt.outcome, tt.remarks, tt.skips)
		}
	}
	if len(results) != 5 {
		t.Errorf("got %d tests, want 5", len(results))
	}
}

func TestReadEventsRefusesJunk(t *testing.T) {
	t.Parallel()
	if _, err := readEvents(strings.NewReader(events+"junk"), io.Discard); err == nil {
		t.Error("junk is no event")
	}
}

func TestReadEventsKeepsAllOutput(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	if _, err := readEvents(strings.NewReader(events), &log); err != nil || strings.Count(log.String(), "\n") != 9 {
		t.Errorf("got %d lines, %v; want 9", strings.Count(log.String(), "\n"), err)
	}
}

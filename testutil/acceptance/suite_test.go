package main

import (
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTestNames(t *testing.T) {
	t.Parallel()
	const source = `package api
func TestAPI_One(t *testing.T) {}
func TestMain(m *testing.M) {}
func testHelper(t *testing.T) {}
func (s *suite) TestMethod() {}
func TestAPI_Two(t *testing.T) {}`
	file, err := parser.ParseFile(token.NewFileSet(), "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := testNames(file), []string{"TestAPI_One", "TestAPI_Two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// everything is a suite in which each area has a test of its own, and those of our tables.
func everything() *suite {
	s := &suite{tests: map[string][]string{}}
	for _, a := range areas {
		file := strings.ReplaceAll(a.files, "*", "_x")
		s.tests[file] = []string{"Test" + a.name}
	}
	s.tests["kv_test.go"] = slices.Concat(s.tests["kv_test.go"], slices.Collect(maps.Keys(leftOut)), slices.Collect(maps.Keys(known)))
	return s
}

// A name that is no test any more, and an area without tests, are said: nothing is left out unnoticed.
func TestCheck(t *testing.T) {
	t.Parallel()
	if err := everything().check(); err != nil {
		t.Fatal(err)
	}
	for name, gone := range map[string]string{"left out": slices.Sorted(maps.Keys(leftOut))[0], "known": slices.Sorted(maps.Keys(known))[0]} {
		s := everything()
		s.tests["kv_test.go"] = slices.DeleteFunc(s.tests["kv_test.go"], func(test string) bool { return test == gone })
		if err := s.check(); err == nil || !strings.Contains(err.Error(), gone) {
			t.Errorf("%s: %s is gone: got %v", name, gone, err)
		}
	}
	s := everything()
	delete(s.tests, "lock_test.go")
	if err := s.check(); err == nil || !strings.Contains(err.Error(), "area Lock") {
		t.Errorf("no tests of locks: got %v", err)
	}
}

// The tests are those of the client that the command line is built with.
func TestSuiteIsTheClientInUse(t *testing.T) {
	t.Parallel()
	version := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(regexp.QuoteMeta(clientPackage) + ` v\S+`).FindString(string(text))
	}
	if ours, suites := version("../../go.mod"), version("suite/go.mod"); ours != suites || ours == "" {
		t.Errorf("go.mod has %q, suite/go.mod %q", ours, suites)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	if got, err := choose(""); len(got) != len(areas) || err != nil {
		t.Errorf("got %v, %v; want all", got, err)
	}
	if got, err := choose("txn, KV"); len(got) != 2 || got[0].name != "Txn" || got[1].name != "KV" || err != nil {
		t.Errorf("got %v, %v; want Txn and KV", got, err)
	}
	if got, err := choose("kv,intentions"); err == nil {
		t.Errorf("got %v, want an error", got)
	}
}

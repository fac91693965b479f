package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every fault fits the sources as they are, and leaves Go. That it compiles, a
// run says.
func TestFaultsFit(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, f := range faults {
		if names[f.name] {
			t.Errorf("two faults are called %s", f.name)
		}
		names[f.name] = true
		sources, err := f.sources("../..")
		if err != nil {
			t.Error(err)
		}
		for file, text := range sources {
			if _, err := parser.ParseFile(token.NewFileSet(), file, text, 0); err != nil {
				t.Errorf("fault %s: %v", f.name, err)
			}
		}
	}
}

func TestFaultMustFitOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("one two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		old string
		ok  bool
	}{{"one", true}, {"two", false}, {"three", false}} {
		f := fault{"f", "", []edit{{"a.go", tt.old, "1"}}}
		if _, err := f.sources(dir); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want ok %v", tt.old, err, tt.ok)
		}
	}
}

// Of what go test -json says, the first failure counts, with its first line.
func TestListen(t *testing.T) {
	t.Parallel()
	const start = `{"Action":"run","Test":"TestA"}
{"Action":"run","Test":"TestA/b"}
`
	for _, tt := range []struct{ name, lines, test, said, notBuilt string }{
		{"passes", start + `{"Action":"pass","Test":"TestA/b"}`, "", "", ""},
		{"fails", start + `{"Action":"output","Test":"TestA/b","Output":"    a_test.go:7: locks: no order\n"}
{"Action":"fail","Test":"TestA/b"}
{"Action":"fail","Test":"TestA"}
`, "TestA/b", "locks: no order", ""},
		{"panics", start + `{"Action":"output","Output":"panic: fsm: entry 7\n"}
{"Action":"fail"}
`, "TestA/b", "panic: fsm: entry 7", ""},
		{"does not compile", `{"Action":"build-output","Output":"a.go:1: no\n"}
{"Action":"build-fail"}
{"Action":"fail"}
`, "", "", "a.go:1: no\n"},
	} {
		found, notBuilt := new(listener).listen(strings.NewReader(tt.lines))
		if found == nil {
			found = &finding{}
		}
		if found.test != tt.test || found.said != tt.said || notBuilt != tt.notBuilt {
			t.Errorf("%s: got %q, %q, %q", tt.name, found.test, found.said, notBuilt)
		}
	}
}

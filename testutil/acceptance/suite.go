package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// clientPackage is the official client, at the version that the module in ./suite pins.
const (
	clientPackage = "github.com/hashicorp/consul/api"
	suiteModule   = "testutil/acceptance/suite"
)

// suite is the client's tests as they lie in the module cache.
type suite struct {
	dir     string
	version string
	tests   map[string][]string // names by file
}

// loadSuite finds the client's sources and reads the names of their tests.
func loadSuite() (*suite, error) {
	list := exec.Command("go", "-C", suiteModule, "list", "-json=Dir,Module,TestGoFiles,XTestGoFiles", clientPackage)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", clientPackage, err)
	}
	var p struct {
		Dir          string
		Module       struct{ Version string }
		TestGoFiles  []string
		XTestGoFiles []string
	}
	if err := json.Unmarshal(out, &p); err != nil {
		return nil, err
	}
	s := &suite{dir: p.Dir, version: p.Module.Version, tests: map[string][]string{}}
	for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.tests[name] = testNames(file)
	}
	return s, nil
}

// testNames are the tests in a file.
func testNames(file *ast.File) []string {
	var names []string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// of returns the tests of an area. An area without any is a mistake.
func (s *suite) of(a area) ([]string, error) {
	var names []string
	for file, tests := range s.tests {
		matched, err := path.Match(a.files, file)
		if err != nil {
			return nil, err
		}
		if matched {
			names = append(names, tests...)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("area %s: no tests in %s of %s", a.name, a.files, s.dir)
	}
	slices.Sort(names)
	return names, nil
}

// check says which names of our tables are no tests of any area.
func (s *suite) check() error {
	var all []string
	var errs []error
	for _, a := range areas {
		names, err := s.of(a)
		errs = append(errs, err)
		all = append(all, names...)
	}
	for name := range leftOut {
		if !slices.Contains(all, name) {
			errs = append(errs, fmt.Errorf("%s is to be left out, and no test of any area", name))
		}
	}
	for name := range known {
		if _, left := leftOut[name]; left || !slices.Contains(all, name) {
			errs = append(errs, fmt.Errorf("%s is known to fail, and not among the tests that are run", name))
		}
	}
	return errors.Join(errs...)
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// workshop is a directory for one run: the binaries, and the place of all temporary files of the tests.
type workshop struct {
	dir string
}

// setUp builds praetor, the shim that is called consul, and the client's tests.
func setUp() (*workshop, error) {
	dir, err := os.MkdirTemp("", "acceptance-")
	if err != nil {
		return nil, err
	}
	w := &workshop{dir}
	if err := os.Mkdir(w.tmp(), 0o700); err != nil {
		return w, err
	}
	for _, args := range [][]string{
		{"build", "-buildvcs=false", "-o", w.bin("praetor"), "."},
		{"build", "-buildvcs=false", "-o", w.bin("consul"), "./testutil/acceptance/shim"},
		{"-C", suiteModule, "test", "-c", "-o", w.bin("api.test"), clientPackage},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return w, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return w, nil
}

func (w *workshop) bin(name string) string { return filepath.Join(w.dir, "bin", name) }

func (w *workshop) tmp() string { return filepath.Join(w.dir, "tmp") }

// environment is ours with `consul` on the path, temporary files in our place, and nothing that would tell clients or
// servers to do otherwise than the tests expect.
func (w *workshop) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CONSUL_") || strings.HasPrefix(v, "PRAETOR_") || strings.HasPrefix(v, "TEST_")
	})
	return append(env, "PATH="+filepath.Dir(w.bin("consul"))+string(os.PathListSeparator)+os.Getenv("PATH"), "TMPDIR="+w.tmp())
}

func (w *workshop) remove() error { return os.RemoveAll(w.dir) }

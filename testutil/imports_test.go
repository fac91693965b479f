package testutil_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "praetor"

// arrow is the one direction in which imports point: production code of a room imports its own packages and those of
// rooms to its left. "main" is the module's root.
var arrow = []string{"structs", "state", "fsm", "rpcserver", "agent", "command", "main"}

// narrower holds the packages that are allowed less than their place in the arrow gives.
var narrower = map[string][]string{
	"rpcserver/client":   {"structs", "rpcserver/wire"}, // a client does not carry a server with it
	"rpcserver/wire":     {"structs"},
	"rpcserver/logstore": {"structs"},                                       // tools read the log without a server
	"command":            {"structs", "fsm", "agent", "rpcserver/recovery"}, // fsm and recovery for offline verbs, agent to start it; the rest is HTTP
}

func TestImportsFollowTheArrow(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".."
			if hidden || entry.Name() == "testdata" || name == "../data" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(name)), "..")
		for _, spec := range file.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if to != module && !strings.HasPrefix(to, module+"/") {
				continue
			}
			if reason := forbidden(packageName(from), packageName(strings.TrimPrefix(to, module))); reason != "" {
				t.Errorf("%s imports %s: %s", strings.TrimPrefix(filepath.ToSlash(name), "../"), to, reason)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("no files seen: this test does not look at the module")
	}
}

// The walk above starts at the parent folder, which must be the module that this test speaks of.
func TestParentIsTheModule(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "module " + module + "\n"; !strings.HasPrefix(string(mod), want) {
		t.Errorf("../go.mod does not start with %q", want)
	}
}

func packageName(dir string) string {
	if dir = strings.TrimPrefix(path.Clean("/"+dir), "/"); dir != "" {
		return dir
	}
	return "main"
}

// forbidden says why production code in one package may not import the other, or "". Both are named from the module's root.
func forbidden(from, to string) string {
	fromRoom, _, _ := strings.Cut(from, "/")
	toRoom, _, _ := strings.Cut(to, "/")
	if fromRoom == "testutil" {
		return ""
	}
	if toRoom == "testutil" {
		return "only tests may import testutil"
	}
	for _, room := range []string{fromRoom, toRoom} {
		if !slices.Contains(arrow, room) {
			return fmt.Sprintf("%s has no place in the arrow %s", room, strings.Join(arrow, " <- "))
		}
	}
	for name, allowed := range narrower {
		toAllowed := within(to, name) || slices.ContainsFunc(allowed, func(dir string) bool { return within(to, dir) })
		if within(from, name) && !toAllowed {
			return fmt.Sprintf("%s may import only %s", name, strings.Join(allowed, ", "))
		}
	}
	if slices.Index(arrow, toRoom) > slices.Index(arrow, fromRoom) {
		return "imports point one way: " + strings.Join(arrow, " <- ")
	}
	return ""
}

func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"state", "structs", true},
		{"structs", "state", false},
		{"fsm", "fsm/archive", true},
		{"fsm/archive", "fsm", true},
		{"fsm/archive", "rpcserver", false},
		{"rpcserver", "rpcserver/client", true},
		{"rpcserver", "agent", false},
		{"rpcserver/client", "structs", true},
		{"rpcserver/client", "rpcserver/wire", true},
		{"rpcserver/client", "rpcserver", false},
		{"rpcserver/wire", "rpcserver/client", false},
		{"rpcserver/client", "state", false},
		{"rpcserver/client/pool", "rpcserver/client", true},
		{"rpcserver/client/pool", "fsm", false},
		{"rpcserver/clientele", "state", true},
		{"agent", "state", true},
		{"agent", "command", false},
		{"command", "fsm/archive", true},
		{"command", "agent", true},
		{"command", "command/table", true},
		{"command", "rpcserver", false},
		{"command", "rpcserver/recovery", true},
		{"command", "state", false},
		{"main", "command", true},
		{"command", "main", false},
		{"state", "testutil", false},
		{"main", "testutil/cluster", false},
		{"testutil", "rpcserver", true},
		{"testutil/cluster", "testutil", true},
		{"state", "cellar", false},
		{"cellar", "structs", false},
	} {
		if reason := forbidden(tt.from, tt.to); (reason == "") != tt.ok {
			t.Errorf("%s importing %s: got %q, want ok %v", tt.from, tt.to, reason, tt.ok)
		}
	}
}

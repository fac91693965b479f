package testutil_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wallClock names the methods that tell what the wall clock shows. Comparing and
// subtracting times does not: as long as they come from time.Now and stay in the
// process, Go goes by the monotonic clock, and a wall clock that jumps is not noticed.
var wallClock = []string{"Unix", "UnixMilli", "UnixMicro", "UnixNano", "UTC", "Local", "Format", "AppendFormat"}

// tellsPeople are the places where the wall clock only makes names and texts.
var tellsPeople = []string{
	"rpcserver/repair.go",         // name of a file that is put aside
	"rpcserver/snapshot_store.go", // name of a directory that is put aside
	"rpcserver/quarantine.go",     // since when, in an error
	"rpcserver/backup.go",         // name of a backup
	"rpcserver/recovery/",         // what an operator is told of a log
	"rpcserver/logstore/",         // the same, and names
}

// A server whose wall clock jumps must go on as if nothing had happened. A
// testing/synctest bubble has one clock for all servers, which does not jump, so
// this looks at the source instead: below the agent nothing asks for the time of day.
func TestNobodyReadsTheWallClock(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, room := range []string{"structs", "state", "fsm", "rpcserver"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			where := strings.TrimPrefix(filepath.ToSlash(name), "../")
			if slices.ContainsFunc(tellsPeople, func(allowed string) bool { return strings.HasPrefix(where, allowed) }) {
				return nil
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, 0)
			if err != nil {
				return err
			}
			seen++
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if method, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(wallClock, method.Sel.Name) {
					t.Errorf("%s calls %s: does it depend on the time of day?", set.Position(call.Pos()), method.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 50 {
		t.Errorf("%d files seen: this test does not look at the module", seen)
	}
}

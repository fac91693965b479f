package testutil_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"praetor/testutil"
)

// The Go program in the README is compiled and run, word for word but for the
// address of the server.
func TestReadmeProgram(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	program, _, found := strings.Cut(rest, "```")
	if !found || !strings.Contains(program, `"127.0.0.1:8300"`) {
		t.Fatal("the README has no Go program that connects to 127.0.0.1:8300")
	}
	server := testutil.NewProcess(t, "-bootstrap")
	server.Start()
	server.AwaitLeader()
	dir, err := os.MkdirTemp(".", "_readme-") // inside the module, but no package of ./...
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program = strings.Replace(program, "127.0.0.1:8300", server.RPCAddr(), 1)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "run", "./"+dir).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "hello at index ") {
		t.Errorf("got %q, %v, want hello at an index", out, err)
	}
}

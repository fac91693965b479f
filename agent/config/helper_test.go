package config_test

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"praetor/agent/config"
)

// load runs Load with a command line, on a machine called node1 with one private address.
func load(t *testing.T, args ...string) (*config.Runtime, []string, error) {
	t.Helper()
	return config.Load(flags(t, args...))
}

func flags(t *testing.T, args ...string) *config.Flags {
	t.Helper()
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := config.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	f.Host = config.Host{Name: "node1", PrivateIPs: []string{"10.0.0.1", "fd00::1"}}
	return f
}

// mustLoad loads a server with the given fragment of HCL and more flags.
func mustLoad(t *testing.T, hcl string, args ...string) *config.Runtime {
	t.Helper()
	r, _, err := load(t, server(t, hcl, args...)...)
	if err != nil {
		t.Fatalf("load %q %q: %v", hcl, args, err)
	}
	return r
}

// server is the command line of a plain server with one configuration file.
func server(t *testing.T, hcl string, args ...string) []string {
	t.Helper()
	return append([]string{"-server", "-data-dir=/data", "-config-file=" + write(t, "a.hcl", hcl)}, args...)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantError checks that an error holds a sentence; an empty one wants success.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got error %q, want none", err)
	case want != "" && err == nil:
		t.Errorf("got no error, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("got error %q, want %q", err, want)
	}
}

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"praetor/agent/config"
)

// The sample configuration is what it claims to be. Its address template needs
// a machine with a private address, which this one may not be.
func TestSampleConfiguration(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/deploy/server.hcl")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "server.hcl")
	settled := strings.Replace(string(text), "{{ GetPrivateIP }}", "10.0.0.11", 1)
	if err := os.WriteFile(file, []byte(settled), 0o600); err != nil {
		t.Fatal(err)
	}
	r, warnings, err := config.LoadFiles([]string{file}, "")
	if err != nil || len(warnings) > 0 {
		t.Fatalf("got %v, warnings %q, want neither", err, warnings)
	}
	if !r.Server || r.BootstrapExpect != 3 || len(r.RetryJoin) == 0 {
		t.Errorf("got %+v, want one of three servers", r)
	}
}

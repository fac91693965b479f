package testutil

import (
	"strings"
	"testing"
)

func TestLastWords(t *testing.T) {
	t.Parallel()
	filler := strings.Repeat("goroutine\n", 2*tailLines)
	for _, tt := range []struct{ name, output, begins string }{
		{"panic", "log\npanic: no\n" + filler, "panic: no\ngoroutine\n"},
		{"runtime", "log\nfatal error: no\n" + filler, "fatal error: no\n"},
		{"signal", "log\nSIGABRT: abort\nPC=1\n" + filler, "SIGABRT: abort\nPC=1\n"},
		{"in the middle of a line of the log", "log\nagent: upSIGABRT: abort\nPC=1\n" + filler, "SIGABRT: abort\nPC=1\n"},
		{"a line of the log that names one", "agent: after panic: no\npanic: yes\n" + filler, "panic: yes\n"},
		{"none", "log\n" + filler, "goroutine\n"},
	} {
		got := lastWords(tt.output)
		if !strings.HasPrefix(got, tt.begins) {
			t.Errorf("%s: begins with %q, want %q", tt.name, got[:min(40, len(got))], tt.begins)
		}
		if n := strings.Count(got, "\n"); n >= panicLines {
			t.Errorf("%s: %d lines", tt.name, n)
		}
	}
}

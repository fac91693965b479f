package command_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/command"
)

const fixture = "../fsm/archive/testdata/consul-1.21.4.snap"

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// TestScripts runs the command lines in testdata/*.txt and compares what they
// print. In a script, "$ praetor …" is a command line, "! " stands before a line
// of stderr, "(exit N)" is an exit code other than 0, and # begins a comment.
// "go test -run Scripts -update" writes the output anew.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range scripts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if path, err = filepath.Abs(path); err != nil {
				t.Fatal(err)
			}
			newFake(t)
			workspace(t)
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				if strings.HasPrefix(line, "#") {
					got.WriteString("\n" + line)
				}
				if words, ok := strings.CutPrefix(line, "$ praetor"); ok {
					fmt.Fprintf(&got, "\n%s%s", line, run(t, split(words)...))
				}
			}
			text := strings.TrimLeft(got.String(), "\n")
			if *update {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want), text); diff != "" && !*update {
				t.Errorf("%s (-want +got; -update takes it over):\n%s", path, diff)
			}
		})
	}
}

// workspace makes a directory with files for the scripts the current one.
func workspace(t *testing.T) {
	t.Helper()
	snap, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(snap)
	flipped[30000] ^= 0x40
	t.Chdir(t.TempDir())
	survivors(t)
	for name, data := range archives(t) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("directory", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"consul.snap": snap, "cut.snap": snap[:30000], "flipped.snap": flipped,
		"good.hcl": []byte("server = true\ndata_dir = \"/tmp/praetor\"\nbind_addr = \"127.0.0.1\"\n"),
		"bad.hcl":  []byte("server = true\ndata_dir = \"/tmp/praetor\"\nbind_addr = \"127.0.0.1\"\nbotstrap = true\n"),
		"value":    []byte("from a file\n"),
		"web.hcl": []byte(`service {
			name = "web"
			port = 8080
			tags = ["v1"]
			meta { version = "1.4.2" }
			checks = [{ id = "a", ttl = "30s" }]
			tagged_addresses { wan { address = "198.51.100.7" port = 80 } }
		}`),
		"two.hcl":        []byte("services { name = \"a\" }\nservices { name = \"b\" id = \"b2\" check { ttl = \"1m\" } }\n"),
		"db.json":        []byte(`{"service":{"Name":"db","ID":"db1","EnableTagOverride":true}}`),
		"move.json":      []byte(`[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}},{"KV":{"Verb":"delete","Key":"b"}}]`),
		"none.hcl":       []byte("server = true\n"),
		"nobody.hcl":     []byte("service { port = 1 }\n"),
		"two.json":       []byte(`[{"key":"b","flags":7,"value":"Mg=="},{"key":"a","value":""}]`),
		"truncated.json": []byte(`[{"key":"c","flags":7,"value":"Mg=="},{"key`),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// split takes a command line apart as a shell does, as far as single quotes go.
func split(line string) (words []string) {
	for _, w := range regexp.MustCompile(`'[^']*'|[^\s']+`).FindAllString(line, -1) {
		words = append(words, strings.Trim(w, "'"))
	}
	return words
}

// run is the outcome of one command line in the form of the scripts.
func run(t *testing.T, args ...string) string {
	t.Helper()
	var stdin io.Reader = strings.NewReader("")
	if n := len(args); n > 2 && args[n-2] == "<" {
		file, err := os.Open(args[n-1])
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		stdin, args = file, args[:n-2]
	}
	var stdout, stderr bytes.Buffer
	code := command.Run(args, stdin, &stdout, &stderr)
	out := stdout.String()
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "(no newline)\n"
	}
	for line := range strings.Lines(stderr.String()) {
		out += "! " + line
	}
	if code != 0 {
		out += fmt.Sprintf("(exit %d)\n", code)
	}
	return mask.ReplaceAllString(out, "http://SERVER")
}

// mask hides what differs from run to run.
var mask = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

package command

import (
	"bytes"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posener/complete"
)

// leaf returns the verb of a table line, nil for parents and the agent.
func leaf(e entry) *verb {
	v, _ := e.make(&shell{strings.NewReader(""), io.Discard, io.Discard}, e).(*verb)
	return v
}

func execute(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestEveryCommandIsExplained(t *testing.T) {
	t.Parallel()
	for _, e := range commands {
		code, out, errs := execute(append(strings.Fields(e.name), "-help")...)
		if code != 0 || errs != "" {
			t.Errorf("%s -help: exit code %d, stderr %q", e.name, code, errs)
		}
		if e.synopsis == "" || strings.HasSuffix(e.synopsis, ".") {
			t.Errorf("%s: synopsis %q", e.name, e.synopsis)
		}
		examples := regexp.MustCompile(`(?m)^\s*\$ praetor `).FindAllString(out, -1)
		if !strings.HasPrefix(out, "Usage: praetor "+e.name) || len(examples) < 2 {
			t.Errorf("%s -help has %d examples and begins %.40q", e.name, len(examples), out)
		}
		for line := range strings.Lines(out) {
			if n := len([]rune(line)); n > 140 {
				t.Errorf("%s -help has a line of %d letters: %s", e.name, n, line)
			}
		}
	}
}

// TestExamplesWork parses every example as its command would: no example has a
// flag that does not exist, or too few operands.
func TestExamplesWork(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`'[^']*'|[^\s']+`)
	try := func(from, example string) {
		var words []string
		for _, w := range word.FindAllString(example, -1) {
			if w == "|" || w == "#" || w == "<" || w == ">" || w == "&&" {
				break
			}
			words = append(words, strings.Trim(w, "'"))
		}
		var best entry
		for _, e := range commands {
			if strings.HasPrefix(strings.Join(words, " ")+" ", e.name+" ") && len(e.name) > len(best.name) {
				best = e
			}
		}
		switch v := (*verb)(nil); {
		case best.name != "":
			if v = leaf(best); v == nil {
				return
			}
			if _, err := v.parse(words[strings.Count(best.name, " ")+1:]); err != nil {
				t.Errorf("%s: example %q: %v", from, example, err)
			}
		case words[0] != "agent":
			t.Errorf("%s: example %q is of no command", from, example)
		}
	}
	for _, e := range commands {
		switch c := e.make(&shell{}, e).(type) {
		case *verb:
			for _, example := range c.examples {
				try(e.name, example)
			}
		case *group:
			for _, example := range c.help.examples {
				try(e.name, example)
			}
		}
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, e := range commands {
		if leaf(e) == nil {
			continue
		}
		for _, args := range [][]string{{"-nonsense"}, {"a", "b", "-nonsense"}} {
			if leaf(e).runs && args[0] == "a" { // -nonsense is the command's
				continue
			}
			code, out, errs := execute(append(strings.Fields(e.name), args...)...)
			if code != 1 || out != "" || !strings.Contains(errs, "nonsense") || !strings.Contains(errs, "Usage: praetor "+e.name) {
				t.Errorf("%s %v: exit code %d, stdout %q, stderr %q", e.name, args, code, out, errs)
			}
		}
	}
}

func TestCommandsAreSortedAndHaveTheirParents(t *testing.T) {
	t.Parallel()
	var all []string
	for _, e := range commands {
		if i := strings.LastIndex(e.name, " "); i > 0 && !slices.Contains(all, e.name[:i]) {
			t.Errorf("%s has no parent before it", e.name)
		}
		all = append(all, e.name)
	}
	if !slices.IsSorted(all) {
		t.Error("the table is not in order")
	}
}

func TestNobodyThere(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	addr := strings.TrimPrefix(gone.URL, "http://")
	for _, c := range []struct{ praetor, consul, flag, source string }{
		{"", addr, "", "from CONSUL_HTTP_ADDR"},
		{addr, "192.0.2.1:1", "", "from PRAETOR_HTTP_ADDR"},
		{"192.0.2.1:1", "192.0.2.1:1", addr, "from -http-addr"},
	} {
		t.Setenv("PRAETOR_HTTP_ADDR", c.praetor)
		t.Setenv("CONSUL_HTTP_ADDR", c.consul)
		args := []string{"members"}
		if c.flag != "" {
			args = append(args, "-http-addr="+c.flag)
		}
		code, out, errs := execute(args...)
		for _, part := range []string{addr, c.source, "praetor agent -dev", "-http-addr", "PRAETOR_HTTP_ADDR"} {
			if code != 1 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, part) {
				t.Errorf("%+v: exit code %d, stdout %q, stderr %q, which should have %q", c, code, out, errs, part)
			}
		}
	}
	if addr, source := new(connection).address(); addr != "192.0.2.1:1" || source != "from PRAETOR_HTTP_ADDR" {
		t.Error(addr, source)
	}
}

func TestConnectionSettings(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = w.Write([]byte("[]"))
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(pairs ...string) {
		for _, name := range []string{"HTTP_TOKEN", "HTTP_TOKEN_FILE", "HTTP_AUTH", "HTTP_SSL"} {
			t.Setenv("PRAETOR_"+name, "")
			t.Setenv("CONSUL_"+name, "")
		}
		for i := 0; i < len(pairs); i += 2 {
			t.Setenv(pairs[i], pairs[i+1])
		}
	}
	for _, c := range []struct {
		env, args []string
		token     string
	}{
		{nil, nil, ""},
		{[]string{"CONSUL_HTTP_TOKEN", "c"}, nil, "c"},
		{[]string{"CONSUL_HTTP_TOKEN", "c", "PRAETOR_HTTP_TOKEN", "p"}, nil, "p"},
		{[]string{"CONSUL_HTTP_TOKEN", "c", "PRAETOR_HTTP_TOKEN_FILE", file}, nil, "from-file"},
		{[]string{"CONSUL_HTTP_TOKEN_FILE", file}, []string{"-token=flag"}, "flag"},
		{[]string{"PRAETOR_HTTP_TOKEN", "p"}, []string{"-token=flag", "-token-file=" + file}, "from-file"},
	} {
		env(c.env...)
		args := append([]string{"kv", "list", "-http-addr=" + server.URL + "/behind/proxy"}, c.args...)
		if code, _, errs := execute(args...); code != 0 {
			t.Fatal(c, errs)
		}
		if token := got.Header.Get("X-Consul-Token"); token != c.token {
			t.Errorf("%v %v: token %q, want %q", c.env, c.args, token, c.token)
		}
	}
	env("CONSUL_HTTP_AUTH", "user:pass:word")
	code, _, errs := execute("operator", "raft", "add-peer", "-http-addr="+server.URL+"/behind/proxy", "-datacenter=dc2", "-id=x y", "-address=1.2.3.4:5")
	if want := "/behind/proxy/v1/operator/raft/peer?address=1.2.3.4%3A5&dc=dc2&id=x+y"; code != 0 || got.RequestURI != want {
		t.Errorf("exit code %d, %s; asked for %s, want %s", code, errs, got.RequestURI, want)
	}
	if user, password, _ := got.BasicAuth(); user != "user" || password != "pass:word" {
		t.Error(user, password)
	}
	if code, _, errs := execute("kv", "list", "-token-file=/does/not/exist"); code != 1 || !strings.Contains(errs, "/does/not/exist") {
		t.Error(code, errs)
	}
	env("PRAETOR_HTTP_SSL", "perhaps")
	if code, _, errs := execute("kv", "list"); code != 1 || !strings.Contains(errs, "PRAETOR_HTTP_SSL") {
		t.Error(code, errs)
	}
}

func TestCompletion(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/v1/kv/app/?keys=&separator=%2F&stale=" {
			_, _ = w.Write([]byte(`["app/db/","app/limit"]`))
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("PRAETOR_HTTP_ADDR", server.URL)
	var get *verb
	for _, e := range commands {
		if e.name == "kv get" {
			get = leaf(e)
		}
	}
	if got := get.AutocompleteArgs().Predict(complete.Args{Last: "app/"}); !slices.Equal(got, []string{"app/db/", "app/limit"}) {
		t.Errorf("keys under app/: %v", got)
	}
	flags := get.AutocompleteFlags()
	if got := flags["-format"].Predict(complete.Args{}); !slices.Equal(got, []string{"pretty", "json"}) {
		t.Errorf("-format: %v", got)
	}
	if p, ok := flags["-recurse"]; !ok || p != nil {
		t.Errorf("-recurse takes %v", p)
	}
	if flags["-ca-file"] == nil || flags["-token"] == nil {
		t.Error("the connection's flags are missing")
	}
}

type terminal struct{ bytes.Buffer }

func (*terminal) IsTerminal() bool { return true }

func TestMeter(t *testing.T) {
	t.Parallel()
	if m := (&shell{stderr: io.Discard}).meter("Saving", 10); m != nil {
		t.Error("a meter without a terminal")
	}
	var none *meter
	if r := none.reader(strings.NewReader("x")); r == nil {
		t.Error("no meter, no reader")
	}
	none.clear()

	var screen terminal
	m := (&shell{stderr: &screen}).meter("Saving", 4096)
	copied := func(n int) {
		m.shown = time.Time{}
		if _, err := io.Copy(io.Discard, m.reader(strings.NewReader(strings.Repeat("x", n)))); err != nil {
			t.Fatal(err)
		}
	}
	copied(1024)
	copied(3072)
	m.clear()
	want := "\r\x1b[KSaving [=======                       ]  25% of 4KB" +
		"\r\x1b[KSaving [==============================] 100% of 4KB" + "\r\x1b[K"
	if screen.String() != want {
		t.Errorf("got  %q\nwant %q", screen.String(), want)
	}
	if got := (&meter{label: "Saving", done: 1536}).String(); got != "Saving 1.5KB" {
		t.Error(got)
	}
}

func TestFlagLike(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]bool{
		"-cas": true, "--cas": true, "-modify-index=3": true, "-x": true, "-": false, "--": false, "-5": false, "-.5": false,
		"-----BEGIN KEY-----": false, "- a list": false, "-a sentence": false, "value": false, "": false,
	} {
		if got := flagLike.MatchString(arg); got != want {
			t.Errorf("%q: %v", arg, got)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	t.Parallel()
	for _, e := range commands {
		v := leaf(e)
		if v == nil {
			continue
		}
		v.allFlags().VisitAll(func(f *flag.Flag) {
			if f.Usage == "" || !strings.HasSuffix(f.Usage, ".") || !strings.Contains(v.Help(), "  -"+f.Name) {
				t.Errorf("%s: -%s is explained by %q", e.name, f.Name, f.Usage)
			}
		})
	}
}

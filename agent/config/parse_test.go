package config_test

import (
	"strings"
	"testing"

	"praetor/agent/config"
)

func TestParseErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, data, want string }{
		{"a.hcl", `performance { raft_multipler = 1 }`, `unknown key "performance.raft_multipler" in a.hcl: did you mean "performance.raft_multiplier"?`},
		{"a.hcl", `performence { raft_multiplier = 1 }`, `unknown key "performence" in a.hcl: did you mean "performance"?`},
		{"a.hcl", `raft_multiplier = 1`, `unknown key "raft_multiplier" in a.hcl: did you mean "performance.raft_multiplier"?`},
		{"a.hcl", `Server = true`, `did you mean "server"?`},
		{"a.hcl", `acl { enabld = true }`, `unknown key "acl.enabld" in a.hcl: did you mean "acl.enabled"?`},
		{"a.json", `{"entirely_made_up_thing": null}`, `unknown key "entirely_made_up_thing" in a.json`},
		{"a.json", `{"ports": {"http": "8500"}}`, `ports.http (-http-port) in a.json: expected a port number, got "8500"`},
		{"a.json", `{"ports": {"http": 8500.5}}`, `expected a port number, got 8500.5`},
		{"a.json", `{"": {"server": true}}`, `unknown key "" in a.json`},
		{"a.json", `{"ports": 8500}`, `ports in a.json: expected a block, got 8500`},
		{"a.json", `{"server": "true"}`, `server (-server) in a.json: expected true or false, got "true"`},
		{"a.json", `{"retry_interval": 30}`, `retry_interval (-retry-interval) in a.json: expected a duration such as "30s", got 30`},
		{"a.json", `{"retry_interval": "30"}`, `expected a duration such as "30s", got "30"`},
		{"a.json", `{"start_join": "a"}`, `retry_join (-retry-join) in a.json: expected a list of quoted texts, got "a"`},
		{"a.hcl", `retry_join = ["a", 5]`, `expected a list of quoted texts, got a list`},
		{"a.hcl", `node_meta { a = 5 }`, `expected a block of quoted texts, got a block`},
		{"a.json", `{"encrypt": ["secret", "secret"]}`, `encrypt (-encrypt) in a.json: expected text, got a list`},
		{"a.hcl", `server = `, "cannot read a.hcl: not HCL: "},
		{"a.hcl", `server = 99999999999999999999`, "cannot read a.hcl: not HCL: "},
		{"a.json", `{"server": true} {}`, "something follows the closing brace"},
		{"a.json", `[]`, "cannot read a.json: not JSON: "},
		{"a.hcl", strings.Repeat("a [", 10_001), "more than 10000 opening brackets"},
		{"a.hcl", strings.Repeat("a ", 100_000) + "{}", "a block needs 1 to 16 names"},
		{"a.hcl", strings.Repeat("#", 5<<20), "larger than 4194304 bytes"},
	}
	for _, tt := range tests {
		_, format, _ := strings.Cut(tt.name, ".")
		_, err := config.Parse(tt.name, []byte(tt.data), format)
		wantError(t, err, tt.want)
	}
}

// The ways to write one thing mean one thing.
func TestParseForms(t *testing.T) {
	t.Parallel()
	for _, hcl := range []string{
		`ports { http = 1 serf_lan = 2 }`,
		`ports = { http = 1, serf_lan = 2 }`,
		`ports { http = 1 } ports { serf_lan = 2 }`,
		`ports = [{ http = 1 }, { serf_lan = 2 }]`,
		`ports.http = 1 ports.serf_lan = 2`,
		`{"ports": {"http": 1, "serf_lan": 2.0}}`,
		`{"ports": [{"http": [1]}, {"serf_lan": 2}]}`,
		`ports { http = 3 } ports { http = 1 serf_lan = 2 }`,
	} {
		if r := mustLoad(t, hcl); r.Ports.HTTP != 1 || r.Ports.SerfLAN != 2 {
			t.Errorf("%s: got ports %+v, want http 1 and serf_lan 2", hcl, r.Ports)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "a", "server = true", `ports { http = 1 }`, "a = <<EOF\nb\nEOF\n", `{"ports": [{"http": 1e3}]}`, `a "b" "c" { d = ["e", {f = 1}] }`,
		`node_meta { "a" = "${b}" }`, "x = 0x1F y = 1e9 z = -1", `a = "\u12"`, "a = [[[", "/*", `connect = [[{"enabled" = false}]]`,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, isHCL bool) {
		format := "json"
		if isHCL {
			format = "hcl"
		}
		file, err := config.Parse("fuzz", data, format)
		if (file == nil) == (err == nil) {
			t.Errorf("got file %v and error %v, want exactly one", file, err)
		}
	})
}

// An empty file says nothing, in both languages: configuration tools create files before they fill them.
func TestEmptyFile(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"hcl", "json"} {
		if file, err := config.Parse("a", []byte(" \n"), format); err != nil || len(file.Warnings) > 0 {
			t.Errorf("%s: got %v, %v", format, file, err)
		}
	}
}

package config_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	secret := base64.StdEncoding.EncodeToString([]byte("fifteen bytes!!"))
	tests := []struct{ hcl, want string }{
		{``, ""},
		{`bootstrap = true`, ""},
		{`bootstrap_expect = 3`, ""},
		{`bootstrap = true bootstrap_expect = 3`, "bootstrap (-bootstrap) and bootstrap_expect (-bootstrap-expect) exclude each other"},
		{`read_replica = true bootstrap = true`, "read_replica (-read-replica) never votes"},
		{`datacenter = "DC1"`, ""},
		{`datacenter = "dc.1"`, `datacenter (-datacenter) must be letters, digits, - and _, got "dc.1"`},
		{`node_name = ""`, ""},
		{`node_name = " "`, ""},
		{`node_id = "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee"`, ""},
		{`node_id = "seven"`, `node_id (-node-id) must be a UUID, got "seven"`},
		{`node_meta { "a b" = "c" }`, `node_meta (-node-meta): the key "a b"`},
		{`node_meta { consul-version = "c" }`, "starts with consul-, which is reserved"},
		{`encrypt = "` + secret + `"`, "encrypt (-encrypt) must be base64 of 16, 24 or 32 bytes"},
		{`encrypt = "AAAAAAAAAAAAAAAAAAAAAA=="`, ""},
		{`ports { http = 8300 } bind_addr = "10.0.0.1"`, ""},
		{`ports { http = 8300 } client_addr = "0.0.0.0"`, "ports.http (-http-port) and ports.server (-server-port) are both 8300"},
		{`ports { https = 8500 }`, "ports.http (-http-port) and ports.https (-https-port) are both 8500"},
		{`ports { serf_lan = 8300 }`, "ports.serf_lan (-serf-lan-port) and ports.server (-server-port) are both 8300"},
		{`ports { http = -1 https = -1 }`, ""},
		{`ports { server = -1 }`, "ports.server (-server-port) in "},
		{`ports { server = -1 }`, "must be 1 to 65535, got -1"},
		{`ports { http = 0 }`, "must be 1 to 65535, or -1 for none, got 0"},
		{`ports { http = 65536 }`, "got 65536"},
		{`advertise_addr = "0.0.0.0"`, "advertise_addr (-advertise) cannot be 0.0.0.0"},
		{`advertise_addr = "::"`, "advertise_addr (-advertise) cannot be ::"},
		{`advertise_addr = "example.org"`, `advertise_addr (-advertise) must be an IP address, got "example.org"`},
		{`bind_addr = "10.0.0.1 10.0.0.2"`, "bind_addr (-bind) must be one address"},
		{`bind_addr = "{{ GetNothing }}"`, "bind_addr (-bind): bad address template"},
		{`bind_addr = "{{ GetInterfaceIP \"absent\" }}"`, "found no address"},
		{`client_addr = "unix:///run/sock"`, "client_addr (-client) cannot be a unix socket"},
		{`addresses { http = "unix://" }`, "addresses.http: unix:// needs a path"},
		{`addresses { https = "example.org" }`, `addresses.https must hold IP addresses, got "example.org"`},
		{`unix_sockets { mode = "rw" }`, "unix_sockets.mode must be octal"},
		{`retry_join = ["provider=aws tag_key=a"]`, "asks a cloud for addresses"},
		{`retry_join = [""]`, "retry_join (-retry-join) cannot hold an empty address"},
		{`reconnect_timeout = "1h"`, "must be at least 8h0m0s, got 1h0m0s"},
		{`backup { target = "/b" interval = "1h" keep = 0 keep_for = "720h" recipients = ["age1x"] }`, ""},
		{`backup { target = "/b" cron = "30 3 * * *" }`, ""},
		{`backup { target = "/b" cron = "hourly" }`, `backup.cron "hourly" is not a cron expression`},
		{`backup { target = "/b" cron = "@daily" interval = "1h" }`, "backup.interval and backup.cron exclude each other"},
		{`backup { target = "/b" interval = "1s" }`, "must be at least 1m0s, got 1s"},
		{`backup { target = "/b" passphrase_file = "a" identity_file = "b" }`, "backup.passphrase_file excludes"},
		{`retry_interval = "0s"`, "must be positive, got 0s"},
		{`limits { rpc_handshake_timeout = "-1s" }`, "must not be negative, got -1s"},
		{`limits { kv_max_value_size = 67108865 }`, "must be 1 to 67108864, got 67108865"},
		{`performance { raft_multiplier = 11 }`, "must be 1 to 10, got 11"},
		{`raft_logstore { backend = "wal" }`, ""},
		{`raft_logstore { backend = "bolt" }`, `must be one of boltdb, wal, default, got "bolt"`},
		{`log_level = "loud"`, `log_level (-log-level) in `},
		{`http_config { allow_write_http_from = ["10.0.0.1"] }`, "must hold networks such as 10.0.0.0/8"},
		{`http_config { response_headers { "A:" = "b" } }`, `"A:" cannot be an HTTP header`},
		{`tls { https { cert_file = "a" } }`, "tls.https needs cert_file and key_file, or neither"},
		{`tls { defaults { verify_incoming = true } }`, "tls.internal_rpc.verify_incoming needs"},
		{`tls { internal_rpc { verify_outgoing = true } }`, "tls.internal_rpc.verify_outgoing needs ca_file or ca_path"},
		{`tls { defaults { tls_cipher_suites = "ROT13" } }`, `"ROT13" is not a cipher suite`},
		{`acl { enabled = true }`, "acl.enabled in "},
		{`acl { enabled = true }`, "Praetor has no access control yet, and would serve without it: remove this key"},
		{`acl { enabled = "true" }`, "acl.enabled in "},
		{`acl { enabled = false }`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.hcl, func(t *testing.T) {
			t.Parallel()
			_, _, err := load(t, server(t, tt.hcl)...)
			wantError(t, err, tt.want)
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("got error %q, want the key left out", err)
			}
		})
	}
}

func TestValidateFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"-server"}, "data_dir cannot be empty: set -data-dir or data_dir"},
		{[]string{"-data-dir=/data"}, "server mode is off, and Praetor has no client agent yet: set -server or server"},
		{[]string{"-data-dir=/data", "-bootstrap"}, "need server mode"},
		{[]string{"-dev", "-server=false"}, "server mode is off"},
		{[]string{"-dev", `-hcl=bogus = 1`}, `unknown key "bogus" in -hcl`},
		{[]string{"-dev", `-hcl={"log_level": "TRACE"}`}, ""},
	}
	for _, tt := range tests {
		_, _, err := load(t, tt.args...)
		wantError(t, err, tt.want)
	}
}

// All that is wrong is said at once.
func TestErrorsAddUp(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, server(t, `datacenter = "a.b" node_id = "c"`)...)
	wantError(t, err, "datacenter")
	wantError(t, err, "node_id")
	_, _, err = load(t, server(t, `bogus = 1 server = 5`)...)
	wantError(t, err, "bogus")
	wantError(t, err, "server (-server)")
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		hcl  string
		want []string
	}{
		{`connect { enabled = true ca_config { cluster_id = "1" } }`, []string{"connect is accepted and ignored: Praetor has no service mesh"}},
		{`connect { enabled = false ca_config { cluster_id = "1" } }`, nil},
		{`acl { tokens {} }`, nil},
		{`acl { default_policy = "deny" down_policy = "deny" tokens { agent = "secret" } }`, []string{"acl is accepted and ignored: Praetor has no access control yet"}},
		{`acl_master_token = "secret"`, []string{"acl_master_token is accepted and ignored: Praetor has no access control yet"}},
		{`start_join = ["a"]`, []string{"start_join is deprecated: use retry_join"}},
		{`ca_file = "a"`, []string{"ca_file is deprecated: use tls.defaults.ca_file"}},
		{`verify_incoming_rpc = false`, []string{"verify_incoming_rpc is deprecated: use tls.internal_rpc.verify_incoming"}},
		{`ports { dns = 8600 grpc = -1 sidecar_min_port = 21000 }`, []string{
			"ports.dns is accepted and ignored: Praetor has no DNS interface yet",
			"ports.sidecar_min_port is accepted and ignored: Praetor has no service mesh"}},
		{`raft_protocol = 3 disable_remote_exec = true domain = "consul."`, nil},
		{`raft_protocol = 2`, []string{"raft_protocol is accepted and ignored: Praetor speaks raft protocol 3"}},
		{`disable_remote_exec = false`, []string{"disable_remote_exec is accepted and ignored: Praetor has no remote execution"}},
		{`limits { rpc_rate = -1 request_limits { mode = "disabled" read_rate = -1 } }`, nil},
		{`telemetry { circonus_api_token = "secret" }`, []string{"telemetry.circonus_api_token is accepted and ignored: Praetor keeps metrics in memory and for Prometheus only"}},
		{`telemetry { prefix_filter = ["+a", "b"] }`, []string{`telemetry.prefix_filter: "b" is skipped: a rule starts with + or -`}},
		{`bootstrap_expect = 2`, []string{"bootstrap_expect (-bootstrap-expect) of 2 makes a cluster that stops when one server fails: use 3"}},
		{`bootstrap_expect = 4`, []string{"bootstrap_expect (-bootstrap-expect) of 4 survives no more failures than 3: use an odd number"}},
		{`node_name = "a.b"`, []string{`node_name (-node) "a.b" will not be found by DNS: use up to 63 letters, digits and dashes`}},
	}
	for _, tt := range tests {
		t.Run(tt.hcl, func(t *testing.T) {
			t.Parallel()
			// The same file twice: a warning is said once.
			_, got, err := load(t, server(t, tt.hcl, "-config-file="+write(t, "b.hcl", tt.hcl))...)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got warnings %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	r := mustLoad(t, `
		datacenter = "DC1" node_id = "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee" log_level = "err"
		bootstrap_expect = 1 raft_logstore { backend = "default" } performance { raft_multiplier = 3 }
	`)
	got := fmt.Sprint(r.Datacenter, r.NodeID, r.Logging.Level, r.Bootstrap, r.BootstrapExpect, r.Raft.LogStoreBackend, r.Raft.LeaderLeaseTimeout)
	want := fmt.Sprint("dc1", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "ERROR", true, 0, "", 1200*time.Millisecond)
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

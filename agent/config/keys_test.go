package config_test

import (
	"encoding/json"
	"flag"
	"io"
	"strings"
	"testing"

	"praetor/agent/config"
)

// consulKeys are the keys that a Consul configuration may hold, each with a value of its kind in JSON.
const consulKeys = `
	node_name "a" | node_id "00000000-0000-0000-0000-000000000000" | node_meta {"a":"b"} | datacenter "a" | primary_datacenter "a"
	tagged_addresses {"lan":"10.0.0.1"} | translate_wan_addrs true | disable_host_node_id true | locality {"region":"a"} | partition "a"
	segment "a" | segments null | server true | bootstrap true | bootstrap_expect 3 | data_dir "a" | pid_file "a" | rejoin_after_leave true
	server_rejoin_age_max "168h" | read_replica true | non_voting_server true | leave_on_terminate true | skip_leave_on_interrupt true
	performance.leave_drain_time "5s" | performance.raft_multiplier 1 | performance.rpc_hold_timeout "7s"

	bind_addr "127.0.0.1" | client_addr "127.0.0.1" | advertise_addr "127.0.0.1" | advertise_addr_ipv4 "127.0.0.1" | advertise_addr_ipv6 "::1"
	advertise_addr_wan "127.0.0.1" | advertise_addr_wan_ipv4 "127.0.0.1" | advertise_addr_wan_ipv6 "::1"
	addresses {} | addresses.dns "127.0.0.1" | addresses.http "unix:///a" | addresses.https "127.0.0.1" | addresses.grpc "127.0.0.1"
	addresses.grpc_tls "127.0.0.1" | serf_lan "127.0.0.1" | serf_wan "127.0.0.1" | serf_lan_allowed_cidrs ["10.0.0.0/8"]
	serf_wan_allowed_cidrs ["10.0.0.0/8"] | unix_sockets.user "a" | unix_sockets.group "a" | unix_sockets.mode "0660"
	ports.dns 8600 | ports.http 8500 | ports.https -1 | ports.grpc -1 | ports.grpc_tls 8503 | ports.serf_lan 8301 | ports.serf_wan 8302
	ports.server 8300 | ports.proxy_min_port 1 | ports.proxy_max_port 2 | ports.sidecar_min_port 1 | ports.sidecar_max_port 2
	ports.expose_min_port 1 | ports.expose_max_port 2

	retry_join ["a"] | retry_interval "30s" | retry_max 0 | retry_join_wan ["a"] | retry_interval_wan "30s" | retry_max_wan 0
	start_join ["a"] | start_join_wan ["a"] | reconnect_timeout "72h" | reconnect_timeout_wan "72h"
	encrypt "AAAAAAAAAAAAAAAAAAAAAA==" | encrypt_verify_incoming true | encrypt_verify_outgoing true | disable_keyring_file true
	gossip_lan.gossip_interval "200ms" | gossip_lan.gossip_nodes 3 | gossip_lan.probe_interval "1s" | gossip_lan.probe_timeout "500ms"
	gossip_lan.suspicion_mult 4 | gossip_lan.retransmit_mult 4 | gossip_wan {"probe_interval":"5s","suspicion_mult":6}

	raft_protocol 3 | raft_snapshot_threshold 16384 | raft_snapshot_interval "30s" | raft_trailing_logs 10240 | raft_prevote_disabled true
	raft_logstore.backend "wal" | raft_logstore.disable_log_cache true | raft_logstore.verification {"enabled":true,"interval":"60s"}
	raft_logstore.boltdb.no_freelist_sync true | raft_logstore.wal.segment_size_mb 64 | protocol 2
	autopilot.cleanup_dead_servers true | autopilot.last_contact_threshold "200ms" | autopilot.max_trailing_logs 250
	autopilot.min_quorum 0 | autopilot.server_stabilization_time "10s"

	default_query_time "300s" | max_query_time "600s" | discovery_max_stale "1s" | session_ttl_min "10s" | use_streaming_backend true
	cache.entry_fetch_rate 1.5 | cache.entry_fetch_max_burst 2
	limits.http_max_conns_per_client 200 | limits.https_handshake_timeout "5s" | limits.rpc_handshake_timeout "5s"
	limits.rpc_client_timeout "60s" | limits.rpc_rate -1 | limits.rpc_max_burst 1000 | limits.rpc_max_conns_per_client 100
	limits.kv_max_value_size 524288 | limits.txn_max_req_len 524288 | limits.txn_max_ops 128 | limits.request_limits {"mode":"enforcing","read_rate":1,"write_rate":1}
	http_config.block_endpoints ["/v1/a"] | http_config.response_headers {"a":"b"} | http_config.allow_write_http_from ["10.0.0.0/8"]
	http_config.use_cache true | http_config.max_header_bytes 0 | disable_http_unprintable_char_filter true

	domain "consul." | alt_domain "a" | recursors ["a"] | recursor "a" | dns_config {"allow_stale":true,"soa":{"refresh":3600},"service_ttl":{"*":"1s"}}
	check {"name":"a","ttl":"1s"} | checks [{"name":"a","ttl":"1s"},{"name":"b","ttl":"1s"}] | service {"name":"a"} | services [{"name":"a"}] | enable_script_checks true
	enable_local_script_checks true | check_update_interval "5m" | check_output_max_size 4096 | discard_check_output true
	enable_agent_tls_for_checks true | watches [{"type":"key"}]

	acl {"tokens":{}} | acl.enabled false | acl.default_policy "allow" | acl.down_policy "extend-cache" | acl.token_ttl "30s" | acl.policy_ttl "30s"
	acl.role_ttl "30s" | acl.disabled_ttl "30s" | acl.enable_key_list_policy true | acl.enable_token_persistence true
	acl.enable_token_replication true | acl.tokens.initial_management "a" | acl.tokens.agent "a" | acl.tokens.agent_recovery "a"
	acl.tokens.default "a" | acl.tokens.replication "a" | acl.tokens.dns "a" | acl.tokens.config_file_service_registration "a"
	acl.tokens.master "a" | acl.tokens.agent_master "a" | acl_datacenter "a" | acl_default_policy "allow" | acl_master_token "a"

	ca_file "a" | ca_path "a" | cert_file "a" | key_file "a" | verify_incoming true | verify_incoming_rpc true | verify_incoming_https true
	verify_outgoing true | verify_server_hostname true | server_name "a" | auto_encrypt {"tls":true} | auto_config {"enabled":true}
	tls.grpc {"ca_file":"a","use_auto_cert":true}

	log_level "debug" | log_json true | log_file "a" | log_rotate_bytes 1 | log_rotate_duration "24h" | log_rotate_max_files -1
	enable_syslog true | syslog_facility "LOCAL0" | enable_debug true
	telemetry.metrics_prefix "a" | telemetry.disable_hostname true | telemetry.prometheus_retention_time "1h" | telemetry.statsd_address "a"
	telemetry.statsite_address "a" | telemetry.dogstatsd_addr "a" | telemetry.dogstatsd_tags ["a"] | telemetry.prefix_filter ["+a"]
	telemetry.filter_default true | telemetry.enable_host_metrics true | telemetry.circonus_api_token "a" | telemetry.circonus_check_id "a"

	ui_config {"enabled":true,"dir":"a","content_path":"/ui/","metrics_provider":"a"} | ui true | ui_dir "a" | ui_content_path "a"
	disable_coordinates true | disable_remote_exec true | disable_update_check true | disable_anonymous_signature true
	auto_reload_config true | experiments ["a"] | snapshot_agent {} | connect {"enabled":true,"ca_provider":"a","ca_config":{"cluster_id":"a"}}
	peering {"enabled":true} | config_entries {"bootstrap":[]} | xds {"update_max_per_second":1} | default_intention_policy "deny"
	audit {"enabled":true} | license_path "a" | version "1.21.4"
`

func sampleKeys() map[string]string {
	keys := map[string]string{}
	for line := range strings.Lines(consulKeys) {
		for entry := range strings.SplitSeq(line, " | ") {
			if name, value, ok := strings.Cut(strings.TrimSpace(entry), " "); ok {
				keys[name] = value
			}
		}
	}
	for _, section := range []string{"defaults", "internal_rpc", "https"} {
		for _, name := range []string{"ca_file", "ca_path", "cert_file", "key_file"} {
			keys["tls."+section+"."+name] = `"a"`
		}
		for _, name := range []string{"verify_incoming", "verify_outgoing", "verify_server_hostname"} {
			keys["tls."+section+"."+name] = `true`
		}
		keys["tls."+section+".tls_min_version"] = `"TLSv1_2"`
		keys["tls."+section+".tls_cipher_suites"] = `"TLS_AES_128_GCM_SHA256"`
	}
	return keys
}

// Every key of Consul's is taken, whatever it is then good for; empty values ask for nothing.
func TestConsulKeys(t *testing.T) {
	t.Parallel()
	keys := sampleKeys()
	if len(keys) < 230 {
		t.Fatalf("got %d sample keys, want them all", len(keys))
	}
	for name, value := range keys {
		data := value
		parts := strings.Split(name, ".")
		for i := len(parts) - 1; i >= 0; i-- {
			data = `{"` + parts[i] + `":` + data + `}`
		}
		if !json.Valid([]byte(data)) {
			t.Fatalf("bad sample %s", data)
		}
		file, err := config.Parse("a.json", []byte(data), "json")
		if err != nil {
			t.Errorf("%s: got error %v, want none", data, err)
		} else if len(file.Warnings) > 1 {
			t.Errorf("%s: got warnings %q, want at most one", data, file.Warnings)
		}
		// A null is as good as nothing for every key.
		null := strings.Replace(data, value+strings.Repeat("}", len(parts)), "null"+strings.Repeat("}", len(parts)), 1)
		if file, err := config.Parse("a.json", []byte(null), "json"); err != nil || len(file.Warnings) != 0 {
			t.Errorf("%s: got %v, error %v, want neither warning nor error", null, file, err)
		}
	}
}

// The configuration that Consul's Go test server writes, as it writes it.
func TestTestServerConfig(t *testing.T) {
	t.Parallel()
	path := write(t, "config.json", `{
		"node_name": "node-7c9d5d3c-0000-4000-8000-000000000001", "node_id": "7c9d5d3c-0000-4000-8000-000000000001",
		"disable_update_check": true, "performance": {"raft_multiplier": 1}, "bootstrap": true, "server": true,
		"log_level": "debug", "bind_addr": "127.0.0.1", "addresses": {}, "skip_leave_on_interrupt": true, "data_dir": "/tmp/data",
		"ports": {"dns": 1, "http": 2, "https": 3, "serf_lan": 4, "serf_wan": 5, "server": 6, "grpc": 7, "grpc_tls": 8},
		"connect": {"enabled": true, "ca_config": {"cluster_id": "11111111-2222-3333-4444-555555555555"}},
		"peering": {"enabled": true}, "segments": null, "acl": {"tokens": {}}, "version": "1.21.4"}`)
	r, warnings, err := load(t, "-config-file", path)
	if err != nil {
		t.Fatal(err)
	}
	if want := (config.Ports{HTTP: 2, HTTPS: 3, SerfLAN: 4, Server: 6}); r.Ports != want {
		t.Errorf("got ports %+v, want %+v", r.Ports, want)
	}
	got := strings.Join(warnings, "\n")
	for _, key := range []string{"connect", "peering", "ports.dns", "ports.grpc", "ports.grpc_tls", "ports.serf_wan"} {
		if strings.Count("\n"+got, "\n"+key+" is accepted and ignored") != 1 {
			t.Errorf("got warnings\n%s\nwant one about %s", got, key)
		}
	}
	if len(warnings) != 6 {
		t.Errorf("got %d warnings, want 6:\n%s", len(warnings), got)
	}
}

// consulFlags are the flags of Consul's agent with a value each; "" for a switch.
const consulFlags = `
	advertise=127.0.0.1 advertise-wan=127.0.0.1 allow-write-http-from=10.0.0.0/8 alt-domain=a auto-reload-config bind=127.0.0.1 bootstrap
	bootstrap-expect=3 check_output_max_size=4096 client=127.0.0.1 config-dir=a config-file=a config-format=hcl data-dir=a datacenter=a
	default-query-time=1s dev disable-host-node-id disable-keyring-file dns-port=8600 domain=a enable-script-checks
	enable-local-script-checks encrypt=a grpc-port=1 grpc-tls-port=1 hcl=a http-port=1 https-port=1 join=a join-wan=a log-file=a log-json
	log-level=debug log-rotate-bytes=1 log-rotate-duration=1s log-rotate-max-files=1 max-query-time=1s node=a node-id=a node-meta=a:b
	pid-file=a protocol=2 raft-protocol=3 recursor=a rejoin retry-interval=1s retry-interval-wan=1s retry-join=a retry-join-wan=a
	retry-max=1 retry-max-wan=1 segment=a serf-lan-bind=a serf-lan-port=1 serf-lan-allowed-cidrs=a serf-wan-bind=a serf-wan-port=1
	serf-wan-allowed-cidrs=a server server-port=1 syslog ui ui-content-path=a ui-dir=a primary-gateway=a read-replica
`

func TestConsulFlags(t *testing.T) {
	t.Parallel()
	for _, arg := range strings.Fields(consulFlags) {
		flags(t, "-"+arg)
		flags(t, "--"+arg)
	}
}

func TestFlagErrorsAndWarnings(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"-http-port=x":       "expected a whole number",
		"-http-port=0":       "must be 1 to 65535, or -1 for none",
		"-server=maybe":      "expected true or false",
		"-node-meta=x":       "expected key:value",
		"-retry-interval=30": `expected a duration such as "30s"`,
		"-log-level=loud":    "must be one of TRACE, DEBUG, INFO, WARN, ERROR, ERR",
		"-bogus":             "not defined",
	} {
		fs := flag.NewFlagSet("agent", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		config.AddFlags(fs)
		wantError(t, fs.Parse([]string{arg}), want)
	}
	_, warnings, err := load(t, "-dev", "-ui", "-join=a", "-dns-port=8600", "-grpc-port=-1", "-enable-script-checks=false", "-raft-protocol=3")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(warnings, "\n")
	want := "-join is deprecated: use -retry-join\n" +
		"-ui is accepted and ignored: Praetor has no web UI\n" +
		"-dns-port is accepted and ignored: Praetor has no DNS interface yet"
	if got != want {
		t.Errorf("got warnings\n%s\nwant\n%s", got, want)
	}
}

package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/agent/config"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	got := mustLoad(t, "")
	want := &config.Runtime{
		NodeName: "node1", Datacenter: "dc1", Server: true, DataDir: "/data",
		BindAddr: "0.0.0.0", AdvertiseAddr: "10.0.0.1", ClientAddrs: []string{"127.0.0.1"},
		Addresses:     config.Addresses{HTTP: []string{"127.0.0.1"}, HTTPS: []string{"127.0.0.1"}},
		Ports:         config.Ports{HTTP: 8500, HTTPS: -1, SerfLAN: 8301, Server: 8300},
		RetryInterval: 30 * time.Second, ReconnectTimeout: 72 * time.Hour,
		SkipLeaveOnInterrupt: true, LeaveDrainTime: 5 * time.Second,
		EncryptVerifyIncoming: true, EncryptVerifyOutgoing: true,
		GossipLAN: config.Gossip{
			GossipInterval: 200 * time.Millisecond, GossipNodes: 3,
			ProbeInterval: time.Second, ProbeTimeout: 500 * time.Millisecond, SuspicionMult: 4, RetransmitMult: 4,
		},
		Raft: config.Raft{
			Multiplier: 1, HeartbeatTimeout: 600 * time.Millisecond, ElectionTimeout: 600 * time.Millisecond, LeaderLeaseTimeout: 400 * time.Millisecond,
			SnapshotThreshold: 16384, SnapshotInterval: 30 * time.Second, TrailingLogs: 10240,
			WALSegmentSizeMB: 64, NoFreelistSync: true, DiskStallLimit: 10 * time.Second,
		},
		Autopilot: config.Autopilot{
			CleanupDeadServers: true, LastContactThreshold: 200 * time.Millisecond, MaxTrailingLogs: 250,
			ServerStabilizationTime: 10 * time.Second,
		},
		RPCHoldTimeout: 7 * time.Second, DefaultQueryTime: 5 * time.Minute, MaxQueryTime: 10 * time.Minute,
		SessionTTLMin:       10 * time.Second,
		VerifyStateInterval: 10 * time.Minute,
		Checks:              config.Checks{OutputMaxSize: 4096, UpdateInterval: 5 * time.Minute},
		Limits: config.Limits{
			HTTPMaxConnsPerClient: 200, HTTPSHandshakeTimeout: 5 * time.Second, RPCMaxConnsPerClient: 100,
			RPCHandshakeTimeout: 5 * time.Second, RPCClientTimeout: time.Minute, KVMaxValueSize: 524288, TxnMaxReqLen: 524288, TxnMaxOps: 128,
			WatchHistorySize: 32 << 20, DiskReserveMB: 64,
		},
		TLS: config.TLS{
			Defaults:    config.TLSSection{TLSMinVersion: "TLSv1_2"},
			InternalRPC: config.TLSSection{TLSMinVersion: "TLSv1_2"},
			HTTPS:       config.TLSSection{TLSMinVersion: "TLSv1_2"},
		},
		Backup:    config.Backup{Keep: 24, LogLag: 5 * time.Second},
		Logging:   config.Logging{Level: "INFO", RotateDuration: 24 * time.Hour, SyslogFacility: "LOCAL0"},
		Telemetry: config.Telemetry{MetricsPrefix: "consul", FilterDefault: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	r, warnings, err := load(t, "-dev", `-hcl=log_level = "warn" data_dir = "/data"`)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Dev || !r.Server || !r.Bootstrap || !r.EnableDebug || !r.DisableKeyringFile {
		t.Errorf("got %+v, want a bootstrapped development server", r)
	}
	if r.BindAddr != "127.0.0.1" || r.AdvertiseAddr != "127.0.0.1" {
		t.Errorf("got addresses %s, %s, want the loopback", r.BindAddr, r.AdvertiseAddr)
	}
	if r.DataDir != "" || !slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, "data_dir (-data-dir) is ignored") }) {
		t.Errorf("got data dir %q, warnings %q, want none and a warning", r.DataDir, warnings)
	}
	if r.Logging.Level != "WARN" {
		t.Errorf("got level %s, want WARN: sources win over -dev", r.Logging.Level)
	}
	if got, want := r.Raft.ElectionTimeout, 52*time.Millisecond; got != want {
		t.Errorf("got election timeout %v, want %v", got, want)
	}
	_, _, err = load(t, "-dev", "-bootstrap-expect=3")
	wantError(t, err, "bootstrap_expect (-bootstrap-expect) cannot be used with -dev")
}

// Every source says where it stands: each scalar is set by one source more than the one before it.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	first := write(t, "first.hcl", `
		pid_file = "first" log_file = "first" node_name = "first" server_name = "first"
		retry_join = ["first"]
		node_meta { a = "first" b = "first" }
	`)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"b.json": `{"log_file": "b", "node_name": "b", "server_name": "b", "retry_join": ["b"]}`,
		"a.hcl":  `log_file = "a" retry_join = ["a"]`,
		"c.txt":  `nonsense`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, warnings, err := load(t, "-server", "-data-dir=/data", "-node=flag", "-retry-join=flag",
		"-config-file="+first, "-config-dir", dir, `-hcl=server_name = "hcl" retry_join = ["hcl"]`, "-node-meta=b:flag:1", "-server-port=1234")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{r.PidFile, r.Logging.File, r.NodeName, r.ServerName}
	if want := []string{"first", "b", "flag", "hcl"}; !slices.Equal(got, want) {
		t.Errorf("got scalars %q, want %q", got, want)
	}
	if want := []string{"flag", "first", "a", "b", "hcl"}; !slices.Equal(r.RetryJoin, want) {
		t.Errorf("got retry_join %q, want %q", r.RetryJoin, want)
	}
	if diff := cmp.Diff(map[string]string{"a": "first", "b": "flag:1"}, r.NodeMeta); diff != "" {
		t.Errorf("node_meta (-want +got):\n%s", diff)
	}
	if r.Ports.Server != 1234 || r.Ports.HTTP != 8500 {
		t.Errorf("got ports %+v, want 1234 for the server and the default for HTTP", r.Ports)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "c.txt is skipped") {
		t.Errorf("got warnings %q, want one about c.txt", warnings)
	}
}

func TestLoadTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	f := flags(t, server(t, `retry_join = ["a"]`, "-retry-join=b", "-bootstrap-expect=3")...)
	first, _, err := config.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := config.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("second load (-first +second):\n%s", diff)
	}
}

func TestLoadFiles(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, content, format, want string }{
		{"a.hcl", `server = true data_dir = "/data"  bind_addr = "127.0.0.1"`, "", ""},
		{"a.hcl", `data_dir = "/data" bind_addr = "127.0.0.1"`, "", ""}, // -server may follow
		{"a.hcl", `server = false data_dir = "/data" bind_addr = "127.0.0.1"`, "", "server mode is off"},
		{"a.hcl", `server = true bind_addr = "127.0.0.1"`, "", "data_dir cannot be empty: set -data-dir or data_dir"},
		{"a.conf", `server = `, "", "data_dir cannot be empty"}, // skipped
		{"a.conf", `server = `, "hcl", "a.conf"},
		{"a.hcl", ``, "yaml", `unknown format "yaml": use hcl or json`},
	}
	for _, tt := range tests {
		_, _, err := config.LoadFiles([]string{write(t, tt.name, tt.content)}, tt.format)
		wantError(t, err, tt.want)
	}
	_, _, err := config.LoadFiles([]string{filepath.Join(t.TempDir(), "absent.hcl")}, "")
	wantError(t, err, "absent.hcl")
}

func TestTLSInherits(t *testing.T) {
	t.Parallel()
	r := mustLoad(t, `
		ca_file = "ca" cert_file = "cert" key_file = "key" verify_incoming = true
		verify_server_hostname = true
		tls {
			defaults { tls_cipher_suites = "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384" tls_min_version = "tlsv1_3" }
			https { verify_incoming = false  cert_file = "web" ca_file = "" tls_min_version = "" }
		}
	`)
	suites := []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}
	want := config.TLS{
		Defaults: config.TLSSection{CAFile: "ca", CertFile: "cert", KeyFile: "key", VerifyIncoming: true,
			TLSMinVersion: "TLSv1_3", TLSCipherSuites: suites},
		InternalRPC: config.TLSSection{CAFile: "ca", CertFile: "cert", KeyFile: "key", VerifyIncoming: true,
			VerifyOutgoing: true, VerifyServerHostname: true, TLSMinVersion: "TLSv1_3", TLSCipherSuites: suites},
		HTTPS: config.TLSSection{CAFile: "ca", CertFile: "web", KeyFile: "key",
			TLSMinVersion: "TLSv1_3", TLSCipherSuites: suites},
	}
	if diff := cmp.Diff(want, r.TLS); diff != "" {
		t.Errorf("tls (-want +got):\n%s", diff)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	r := mustLoad(t, `
		bind_addr = "{{ GetAllInterfaces | include \"name\" \"^lo$\" | include \"type\" \"IPv4\" | attr \"address\" }}"
		client_addr = "127.0.0.1 {{ printf \"127.0.0.%s\" \"2\" }}"
		addresses { http = "127.0.0.3 unix:///run/praetor.sock" }
	`)
	if r.BindAddr != "127.0.0.1" || r.AdvertiseAddr != "127.0.0.1" {
		t.Errorf("got bind %s, advertise %s, want 127.0.0.1", r.BindAddr, r.AdvertiseAddr)
	}
	if want := []string{"127.0.0.1", "127.0.0.2"}; !slices.Equal(r.ClientAddrs, want) || !slices.Equal(r.Addresses.HTTPS, want) {
		t.Errorf("got client %q, https %q, want %q", r.ClientAddrs, r.Addresses.HTTPS, want)
	}
	if want := []string{"127.0.0.3", "unix:///run/praetor.sock"}; !slices.Equal(r.Addresses.HTTP, want) {
		t.Errorf("got http %q, want %q", r.Addresses.HTTP, want)
	}
	if r := mustLoad(t, `bind_addr = "::"`); r.AdvertiseAddr != "fd00::1" {
		t.Errorf("got advertise %s, want fd00::1", r.AdvertiseAddr)
	}
}

func TestPrivateAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ips  []string
		want string
	}{
		{[]string{"10.0.0.1"}, ""},
		{[]string{}, "no private address for 0.0.0.0: set -advertise or advertise_addr"},
		{[]string{"10.0.0.1", "10.0.0.2"}, "several private addresses (10.0.0.1, 10.0.0.2): set -advertise"},
	}
	for _, tt := range tests {
		f := flags(t, "-server", "-data-dir=/data")
		f.Host.PrivateIPs = tt.ips
		_, _, err := config.Load(f)
		wantError(t, err, tt.want)
	}
}

// A start from a backup founds a cluster of one, also with the files of a
// cluster of three.
func TestRestoreFromBootstraps(t *testing.T) {
	t.Parallel()
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags := config.AddFlags(fs)
	if err := fs.Parse([]string{"-restore-from=latest"}); err != nil {
		t.Fatal(err)
	}
	flags.HCL = []string{`server = true data_dir = "/d" bind_addr = "127.0.0.1" bootstrap_expect = 3`}
	r, _, err := config.Load(flags)
	if err != nil || !r.Bootstrap || r.BootstrapExpect != 0 || flags.RestoreFrom != "latest" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestLoadBackup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.hcl")
	text := `bind_addr = "{{ GetInterfaceIP \"absent\" }}" backup { target = "/b" keep = 3 }`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := config.LoadBackup([]string{file}); err != nil || b.Target != "/b" || b.Keep != 3 {
		t.Errorf("got %+v, %v", b, err)
	}
	if _, err := config.LoadBackup([]string{file + ".absent"}); err == nil {
		t.Error("a file that is not there: got no error")
	}
}

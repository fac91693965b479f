package config

import "flag"

// Flags are the agent's command line: what AddFlags collects, for Load.
type Flags struct {
	Dev    bool
	Files  []string // files and directories, in the order given
	Format string   // "hcl", "json", or empty: by the extension of each file
	HCL    []string // fragments that win over everything else

	// Host stands in for facts of this machine where it has any; for tests.
	Host Host

	RestoreFrom string // the backup that a new cluster starts from; not a key, since it is for one start

	settings []setting
}

// How a flag without effect takes its value; the reason is in the table of keys.
const (
	ignoredText   = "text"
	ignoredSwitch = "switch"
)

// flagLines are the flags that stand for a key. The `word` in a usage is the name of the value.
var flagLines = []struct{ name, key, usage string }{
	{"advertise", "advertise_addr", "`address` at which others reach this server"},
	{"allow-write-http-from", "http_config.allow_write_http_from", "`network` (CIDR) that HTTP writes may come from; repeatable"},
	{"bind", "bind_addr", "`address` for gossip and RPC"},
	{"bootstrap", "bootstrap", "start a cluster of this one server"},
	{"bootstrap-expect", "bootstrap_expect", "`number` of servers to wait for before starting a cluster"},
	{"client", "client_addr", "`addresses` for the HTTP API, with spaces between"},
	{"data-dir", "data_dir", "`directory` for everything durable"},
	{"datacenter", "datacenter", "`name` of the datacenter"},
	{"default-query-time", "default_query_time", "`duration` of a blocking query that names none"},
	{"disable-keyring-file", "disable_keyring_file", "keep gossip keys out of the data directory"},
	{"encrypt", "encrypt", "gossip `key` in base64"},
	{"http-port", "ports.http", "`port` of the HTTP API, -1 for none"},
	{"https-port", "ports.https", "`port` of the HTTPS API, -1 for none"},
	{"join", "start_join", "deprecated `address` of a server to join: use -retry-join"},
	{"log-file", "log_file", "`path` of a log file"},
	{"log-json", "log_json", "log in JSON"},
	{"log-level", "log_level", "least `level` that is logged: trace, debug, info, warn or error"},
	{"log-rotate-bytes", "log_rotate_bytes", "`size` at which a log file is rotated"},
	{"log-rotate-duration", "log_rotate_duration", "`duration` after which a log file is rotated"},
	{"log-rotate-max-files", "log_rotate_max_files", "`number` of rotated log files to keep"},
	{"max-query-time", "max_query_time", "`duration` that no blocking query exceeds"},
	{"node", "node_name", "`name` of this server"},
	{"node-id", "node_id", "`uuid` of this server"},
	{"node-meta", "node_meta", "`key:value` about this server; repeatable"},
	{"non-voting-server", "non_voting_server", "deprecated: use -read-replica"},
	{"pid-file", "pid_file", "`path` of a file for the process id"},
	{"read-replica", "read_replica", "replicate without a vote"},
	{"rejoin", "rejoin_after_leave", "rejoin the cluster after having left it"},
	{"retry-interval", "retry_interval", "`duration` between attempts to join"},
	{"retry-join", "retry_join", "`address` of a server to join, again and again; repeatable"},
	{"retry-max", "retry_max", "`number` of attempts to join, 0 for ever"},
	{"serf-lan-port", "ports.serf_lan", "`port` of gossip"},
	{"server", "server", "be a server"},
	{"server-port", "ports.server", "`port` of RPC"},
	{"syslog", "enable_syslog", "log to syslog too"},

	{"advertise-wan", "advertise_addr_wan", ignoredText},
	{"alt-domain", "alt_domain", ignoredText},
	{"auto-reload-config", "auto_reload_config", ignoredSwitch},
	{"check_output_max_size", "check_output_max_size", ignoredText},
	{"disable-host-node-id", "disable_host_node_id", ignoredSwitch},
	{"dns-port", "ports.dns", ignoredText},
	{"domain", "domain", ignoredText},
	{"enable-local-script-checks", "enable_local_script_checks", ignoredSwitch},
	{"enable-script-checks", "enable_script_checks", ignoredSwitch},
	{"grpc-port", "ports.grpc", ignoredText},
	{"grpc-tls-port", "ports.grpc_tls", ignoredText},
	{"join-wan", "start_join_wan", ignoredText},
	{"primary-gateway", "primary_gateways", ignoredText},
	{"protocol", "protocol", ignoredText},
	{"raft-protocol", "raft_protocol", ignoredText},
	{"recursor", "recursors", ignoredText},
	{"retry-interval-wan", "retry_interval_wan", ignoredText},
	{"retry-join-wan", "retry_join_wan", ignoredText},
	{"retry-max-wan", "retry_max_wan", ignoredText},
	{"segment", "segment", ignoredText},
	{"serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", ignoredText},
	{"serf-lan-bind", "serf_lan", ignoredText},
	{"serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", ignoredText},
	{"serf-wan-bind", "serf_wan", ignoredText},
	{"serf-wan-port", "ports.serf_wan", ignoredText},
	{"ui", "ui", ignoredSwitch},
	{"ui-content-path", "ui_content_path", ignoredText},
	{"ui-dir", "ui_dir", ignoredText},
}

// AddFlags defines the flags of "praetor agent" on fs. Each value is checked as it is parsed.
func AddFlags(fs *flag.FlagSet) *Flags {
	f := &Flags{}
	add := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, s); return nil }
	}
	fs.BoolVar(&f.Dev, "dev", false, "a server by itself, with everything in memory")
	fs.StringVar(&f.Format, "config-format", "", "`format` of all configuration files: hcl or json")
	fs.Func("config-dir", "`directory` of .hcl and .json files, read in name order; repeatable", add(&f.Files))
	fs.Func("config-file", "`path` of a configuration file; repeatable", add(&f.Files))
	fs.Func("hcl", "`fragment` of configuration that wins over files and flags; repeatable", add(&f.HCL))

	fs.StringVar(&f.RestoreFrom, "restore-from", "",
		"`backup` that a new cluster starts from: latest (of backup.target), the name of one, a URL of a target with #name, or a .snap file")

	trial := newKeys(defaults())
	for _, fl := range flagLines {
		l, _ := trial.find(fl.key)
		usage := fl.usage
		if usage == ignoredText || usage == ignoredSwitch {
			usage = "accepted and ignored"
		}
		if l.status == renamed {
			l, _ = trial.find(l.use)
		}
		set := func(s string) error {
			v, err := l.fromText(s)
			if err == nil && l.status == provided {
				err = l.set(v)
			}
			f.settings = append(f.settings, setting{key: fl.key, value: v, flag: "-" + fl.name})
			return err
		}
		if _, isBool := l.to.(*bool); isBool || fl.usage == ignoredSwitch {
			fs.BoolFunc(fl.name, usage, set)
		} else {
			fs.Func(fl.name, usage, set)
		}
	}
	return f
}

// flagOf is the flag that stands for a key, without its dash; empty if there is none.
func flagOf(key string) string {
	for _, fl := range flagLines {
		if fl.key == key {
			return fl.name
		}
	}
	return ""
}

// label is a key with its flag, for messages.
func label(key string) string {
	if name := flagOf(key); name != "" {
		return key + " (-" + name + ")"
	}
	return key
}

// lists reports whether a flag adds to a list: such flags are weaker than files, so that files add to them.
func (s setting) lists(k *keys) bool {
	l, _ := k.find(s.key)
	if l.status == renamed {
		l, _ = k.find(l.use)
	}
	return l.adds
}

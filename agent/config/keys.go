package config

import (
	"math"
	"slices"
	"time"
)

// Why a key of Consul's has no effect here.
const (
	noACL        = "Praetor has no access control yet"
	noAutoTLS    = "certificates come from files"
	noChecks     = "Praetor runs TTL checks only so far"
	noWatches    = "Praetor has no watches in its configuration yet"
	noDNS        = "Praetor has no DNS interface yet"
	noEnterprise = "it belongs to Consul Enterprise"
	noGRPC       = "Praetor has no gRPC interface"
	noMesh       = "Praetor has no service mesh"
	noRPCBind    = "gossip and RPC share bind_addr"
	noSink       = "Praetor keeps metrics in memory and for Prometheus only"
	noUI         = "Praetor has no web UI"
	noWAN        = "Praetor has no WAN federation"
)

// maxValue bounds what one write may carry: larger entries would be chunked well, but hold up everybody else's.
const maxValue = 64 << 20

// maxOps bounds how many operations one transaction may have, for the same reason.
const maxOps = 64 << 10

// many is a limit for numbers that have none by nature.
const many = math.MaxInt32

// table is every configuration key that Praetor knows, bound to the fields of r: the one place where a key is defined.
// Constructors and their promises are in line.go.
func table(r *Runtime) []line {
	return slices.Concat([]line{
		// Who this server is.
		text("node_name", &r.NodeName),
		text("node_id", &r.NodeID),
		pairs("node_meta", &r.NodeMeta),
		text("datacenter", &r.Datacenter),
		fixed("disable_host_node_id", true, "node ids are random"),
		ignored("locality", noMesh),
		ignored("primary_datacenter", noWAN),
		ignored("tagged_addresses", "the advertised address is the only one"),
		ignored("translate_wan_addrs", noWAN),
		ignored("partition", noEnterprise),
		ignored("segment", noEnterprise),
		ignored("segments", noEnterprise),
		deprecated("acl_datacenter", "primary_datacenter"),

		// What it does.
		toggle("server", &r.Server),
		toggle("bootstrap", &r.Bootstrap),
		number("bootstrap_expect", &r.BootstrapExpect, 0, 99),
		toggle("read_replica", &r.ReadReplica),
		text("data_dir", &r.DataDir),
		text("pid_file", &r.PidFile),
		toggle("rejoin_after_leave", &r.RejoinAfterLeave),
		toggle("leave_on_terminate", &r.LeaveOnTerminate),
		toggle("skip_leave_on_interrupt", &r.SkipLeaveOnInterrupt),
		duration("performance.leave_drain_time", &r.LeaveDrainTime, zero),
		ignored("server_rejoin_age_max", "a server may rejoin however long it was away"),
		deprecated("non_voting_server", "read_replica"),

		// Where it listens.
		text("bind_addr", &r.BindAddr),
		text("advertise_addr", &r.AdvertiseAddr),
		words("client_addr", &r.ClientAddrs),
		words("addresses.http", &r.Addresses.HTTP),
		words("addresses.https", &r.Addresses.HTTPS),
		text("unix_sockets.user", &r.UnixSockets.User),
		text("unix_sockets.group", &r.UnixSockets.Group),
		text("unix_sockets.mode", &r.UnixSockets.Mode),
		port("ports.http", &r.Ports.HTTP, -1),
		port("ports.https", &r.Ports.HTTPS, -1),
		port("ports.serf_lan", &r.Ports.SerfLAN, 1),
		port("ports.server", &r.Ports.Server, 1),
		ignored("advertise_addr_ipv4", "set advertise_addr"),
		ignored("advertise_addr_ipv6", "set advertise_addr"),
		ignored("advertise_addr_wan", noWAN),
		ignored("advertise_addr_wan_ipv4", noWAN),
		ignored("advertise_addr_wan_ipv6", noWAN),
		ignored("serf_lan", noRPCBind),
		ignored("serf_lan_allowed_cidrs", "gossip is open to every network: set encrypt"),
		ignored("serf_wan", noWAN),
		ignored("serf_wan_allowed_cidrs", noWAN),
		ignored("addresses.dns", noDNS),
		ignored("addresses.grpc", noGRPC),
		ignored("addresses.grpc_tls", noGRPC),
		ignored("ports.dns", noDNS),
		ignored("ports.grpc", noGRPC),
		ignored("ports.grpc_tls", noGRPC),
		ignored("ports.serf_wan", noWAN),
		ignored("ports.proxy_*", noMesh),
		ignored("ports.sidecar_*", noMesh),
		ignored("ports.expose_*", noMesh),

		// Whom it joins.
		list("retry_join", &r.RetryJoin),
		duration("retry_interval", &r.RetryInterval, positive),
		number("retry_max", &r.RetryMax, 0, many),
		duration("reconnect_timeout", &r.ReconnectTimeout, 8*time.Hour), // less would forget servers that are only being repaired
		ignored("retry_join_wan", noWAN),
		ignored("retry_interval_wan", noWAN),
		ignored("retry_max_wan", noWAN),
		ignored("reconnect_timeout_wan", noWAN),
		ignored("advertise_reconnect_timeout", "reconnect_timeout holds for every member"),
		ignored("primary_gateways", noMesh),
		ignored("primary_gateways_interval", noMesh),
		deprecated("start_join", "retry_join"),
		deprecated("start_join_wan", "retry_join_wan"),
		deprecated("reconnect_timeout_lan", "reconnect_timeout"),

		// Gossip.
		text("encrypt", &r.Encrypt),
		toggle("encrypt_verify_incoming", &r.EncryptVerifyIncoming),
		toggle("encrypt_verify_outgoing", &r.EncryptVerifyOutgoing),
		toggle("disable_keyring_file", &r.DisableKeyringFile),
		duration("gossip_lan.gossip_interval", &r.GossipLAN.GossipInterval, positive),
		number("gossip_lan.gossip_nodes", &r.GossipLAN.GossipNodes, 1, 1000),
		duration("gossip_lan.probe_interval", &r.GossipLAN.ProbeInterval, positive),
		duration("gossip_lan.probe_timeout", &r.GossipLAN.ProbeTimeout, positive),
		number("gossip_lan.suspicion_mult", &r.GossipLAN.SuspicionMult, 1, 1000),
		number("gossip_lan.retransmit_mult", &r.GossipLAN.RetransmitMult, 1, 1000),
		ignored("gossip_wan", noWAN),
		toggle("disable_coordinates", &r.DisableCoordinates),

		// Raft and autopilot.
		number("performance.raft_multiplier", &r.Raft.Multiplier, 1, 10),
		duration("performance.rpc_hold_timeout", &r.RPCHoldTimeout, zero),
		number("raft_snapshot_threshold", &r.Raft.SnapshotThreshold, 1, many).live(),
		duration("raft_snapshot_interval", &r.Raft.SnapshotInterval, 5*time.Millisecond).live(), // raft's own lower bound
		number("raft_trailing_logs", &r.Raft.TrailingLogs, 1, many).live(),
		toggle("raft_prevote_disabled", &r.Raft.PreVoteDisabled),
		duration("raft_disk_stall_limit", &r.Raft.DiskStallLimit, zero),        // ours
		toggle("verify_state", &r.VerifyState),                                 // ours
		duration("verify_state_interval", &r.VerifyStateInterval, time.Second), // ours
		choice("raft_logstore.backend", &r.Raft.LogStoreBackend, "boltdb", "wal", "default"),
		toggle("raft_logstore.boltdb.no_freelist_sync", &r.Raft.NoFreelistSync),
		number("raft_logstore.wal.segment_size_mb", &r.Raft.WALSegmentSizeMB, 1, 1024),
		ignored("raft_logstore.disable_log_cache", "the log cache is always on"),
		ignored("raft_logstore.verification", "Praetor does not verify the log in the background yet"),
		fixed("raft_protocol", 3, "Praetor speaks raft protocol 3"),
		moot("protocol"),
		toggle("autopilot.cleanup_dead_servers", &r.Autopilot.CleanupDeadServers),
		duration("autopilot.last_contact_threshold", &r.Autopilot.LastContactThreshold, positive),
		number("autopilot.max_trailing_logs", &r.Autopilot.MaxTrailingLogs, 0, many),
		number("autopilot.min_quorum", &r.Autopilot.MinQuorum, 0, 99),
		duration("autopilot.server_stabilization_time", &r.Autopilot.ServerStabilizationTime, zero),
		ignored("autopilot.disable_upgrade_migration", noEnterprise),
		ignored("autopilot.redundancy_zone_tag", noEnterprise),
		ignored("autopilot.upgrade_version_tag", noEnterprise),
		deprecated("raft_boltdb.NoFreelistSync", "raft_logstore.boltdb.no_freelist_sync"),

		// Queries and limits.
		duration("default_query_time", &r.DefaultQueryTime, positive),
		duration("max_query_time", &r.MaxQueryTime, positive),
		duration("session_ttl_min", &r.SessionTTLMin, time.Second),
		number("limits.http_max_conns_per_client", &r.Limits.HTTPMaxConnsPerClient, 0, many).live(),
		duration("limits.https_handshake_timeout", &r.Limits.HTTPSHandshakeTimeout, zero).live(),
		number("limits.rpc_max_conns_per_client", &r.Limits.RPCMaxConnsPerClient, 0, many).live(),
		duration("limits.rpc_handshake_timeout", &r.Limits.RPCHandshakeTimeout, zero).live(),
		duration("limits.rpc_client_timeout", &r.Limits.RPCClientTimeout, positive).live(),
		number("limits.kv_max_value_size", &r.Limits.KVMaxValueSize, 1, maxValue).live(),
		number("limits.txn_max_req_len", &r.Limits.TxnMaxReqLen, 1, maxValue).live(),
		number("limits.txn_max_ops", &r.Limits.TxnMaxOps, 1, maxOps).live(),
		number("limits.watch_history_size", &r.Limits.WatchHistorySize, 1<<20, many).live(), // ours
		number("limits.disk_reserve_mb", &r.Limits.DiskReserveMB, 0, 1<<20).live(),          // ours
		ignored("limits.rpc_rate", "Praetor has no rate limits yet"),
		ignored("limits.rpc_max_burst", "Praetor has no rate limits yet"),
		ignored("limits.request_limits", "Praetor has no rate limits yet"),
		ignored("discovery_max_stale", "reads are stale only when they ask for it"),
		moot("use_streaming_backend"),
		moot("rpc"),
		moot("cache"),

		// The HTTP API.
		list("http_config.block_endpoints", &r.HTTPConfig.BlockEndpoints),
		pairs("http_config.response_headers", &r.HTTPConfig.ResponseHeaders).live(),
		list("http_config.allow_write_http_from", &r.HTTPConfig.AllowWriteHTTPFrom),
		number("http_config.max_header_bytes", &r.HTTPConfig.MaxHeaderBytes, 0, 64<<20),
		moot("http_config.use_cache"),
		toggle("disable_http_unprintable_char_filter", &r.DisableHTTPUnprintableCharFilter),
		deprecated("http_api_response_headers", "http_config.response_headers"),

		// Logs and metrics.
		choice("log_level", &r.Logging.Level, "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "ERR").live(),
		toggle("log_json", &r.Logging.JSON),
		text("log_file", &r.Logging.File),
		number("log_rotate_bytes", &r.Logging.RotateBytes, 0, math.MaxInt),
		duration("log_rotate_duration", &r.Logging.RotateDuration, zero),
		number("log_rotate_max_files", &r.Logging.RotateMaxFiles, -1, many),
		toggle("enable_syslog", &r.Logging.Syslog),
		choice("syslog_facility", &r.Logging.SyslogFacility, "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR",
			"NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
			"LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7"),
		toggle("enable_debug", &r.EnableDebug),
		text("telemetry.metrics_prefix", &r.Telemetry.MetricsPrefix),
		toggle("telemetry.disable_hostname", &r.Telemetry.DisableHostname),
		duration("telemetry.prometheus_retention_time", &r.Telemetry.PrometheusRetentionTime, zero),
		list("telemetry.prefix_filter", &r.Telemetry.PrefixFilter).live(),
		toggle("telemetry.filter_default", &r.Telemetry.FilterDefault).live(),
		moot("telemetry.disable_per_tenancy_usage_metrics"),
		moot("telemetry.retry_failed_connection"),
		ignored("telemetry.enable_host_metrics", "ask the operating system"),
		ignored("telemetry.circonus_*", noSink),
		ignored("telemetry.dogstatsd_*", noSink),
		ignored("telemetry.statsd_address", noSink),
		ignored("telemetry.statsite_address", noSink),

		// TLS as it was spelled before the tls block.
		text("server_name", &r.ServerName),
		deprecated("ca_file", "tls.defaults.ca_file"),
		deprecated("ca_path", "tls.defaults.ca_path"),
		deprecated("cert_file", "tls.defaults.cert_file"),
		deprecated("key_file", "tls.defaults.key_file"),
		deprecated("verify_incoming", "tls.defaults.verify_incoming"),
		deprecated("verify_incoming_https", "tls.https.verify_incoming"),
		deprecated("verify_incoming_rpc", "tls.internal_rpc.verify_incoming"),
		deprecated("verify_outgoing", "tls.defaults.verify_outgoing"),
		deprecated("verify_server_hostname", "tls.internal_rpc.verify_server_hostname"),
		deprecated("tls_min_version", "tls.defaults.tls_min_version"),
		deprecated("tls_cipher_suites", "tls.defaults.tls_cipher_suites"),
		ignored("tls_prefer_server_cipher_suites", "the order of cipher suites is Go's"),
		ignored("tls.grpc", noGRPC),
		ignored("auto_encrypt", noAutoTLS),
		ignored("auto_config", noAutoTLS),

		// Access control: nothing may look protected that is not.
		refused("acl.enabled", noACL+", and would serve without it: remove this key"),
		ignored("acl", noACL, "default_policy", "disabled_ttl", "down_policy", "enable_key_list_policy",
			"enable_token_persistence", "enable_token_replication", "msp_disable_bootstrap", "policy_ttl", "role_ttl",
			"token_ttl", "tokens"),
		deprecated("acl_agent_master_token", "acl.tokens"),
		deprecated("acl_agent_token", "acl.tokens"),
		deprecated("acl_default_policy", "acl.default_policy"),
		deprecated("acl_down_policy", "acl.down_policy"),
		deprecated("acl_enable_key_list_policy", "acl.enable_key_list_policy"),
		deprecated("acl_master_token", "acl.tokens"),
		deprecated("acl_replication_token", "acl.tokens"),
		deprecated("acl_token", "acl.tokens"),
		deprecated("acl_ttl", "acl.token_ttl"),
		deprecated("enable_acl_replication", "acl.enable_token_replication"),

		// Backups: ours.
		text("backup.target", &r.Backup.Target),
		duration("backup.interval", &r.Backup.Interval, time.Minute),
		text("backup.cron", &r.Backup.Cron),
		number("backup.keep", &r.Backup.Keep, 0, many),
		duration("backup.keep_for", &r.Backup.KeepFor, zero),
		duration("backup.log_lag", &r.Backup.LogLag, zero),
		list("backup.recipients", &r.Backup.Recipients),
		text("backup.identity_file", &r.Backup.IdentityFile),
		text("backup.passphrase_file", &r.Backup.PassphraseFile),
		text("backup.credentials_file", &r.Backup.CredentialsFile),

		// Local services and checks.
		alias("service", "services"),
		services("services", &r.Services).live(),
		alias("check", "checks"),
		checks("checks", &r.NodeChecks).live(),
		number("check_output_max_size", &r.Checks.OutputMaxSize, 1, 32<<10).live(),
		duration("check_update_interval", &r.Checks.UpdateInterval, zero).live(),
		toggle("discard_check_output", &r.Checks.DiscardOutput).live(),
		ignored("enable_agent_tls_for_checks", noChecks),
		ignored("enable_central_service_config", noMesh),
		ignored("enable_local_script_checks", noChecks),
		ignored("enable_script_checks", noChecks),
		ignored("watches", noWatches),

		// DNS.
		ignored("alt_domain", noDNS),
		fixed("domain", "consul.", noDNS),
		ignored("dns_config", noDNS),
		ignored("recursor", noDNS),
		ignored("recursors", noDNS),

		// The rest of Consul.
		ignored("audit", noEnterprise),
		ignored("license_path", noEnterprise),
		ignored("reporting", noEnterprise),
		ignored("snapshot_agent", noEnterprise),
		ignored("auto_reload_config", "send SIGHUP instead"),
		ignored("cloud", "Praetor has no managed service"),
		ignored("config_entries", noMesh),
		ignored("connect", noMesh),
		ignored("default_intention_policy", noMesh),
		ignored("peering", noMesh),
		ignored("xds", noMesh),
		ignored("experiments", "there are none"),
		ignored("ui", noUI),
		ignored("ui_config", noUI),
		ignored("ui_content_path", noUI),
		ignored("ui_dir", noUI),
		fixed("disable_remote_exec", true, "Praetor has no remote execution"),
		moot("disable_anonymous_signature"),
		moot("disable_update_check"),
		moot("version"),
	},
		tlsKeys("tls.defaults", &r.TLS.Defaults),
		tlsKeys("tls.internal_rpc", &r.TLS.InternalRPC),
		tlsKeys("tls.https", &r.TLS.HTTPS))
}

func tlsKeys(section string, t *TLSSection) []line {
	return []line{
		text(section+".ca_file", &t.CAFile),
		text(section+".ca_path", &t.CAPath),
		text(section+".cert_file", &t.CertFile),
		text(section+".key_file", &t.KeyFile),
		toggle(section+".verify_incoming", &t.VerifyIncoming),
		toggle(section+".verify_outgoing", &t.VerifyOutgoing),
		toggle(section+".verify_server_hostname", &t.VerifyServerHostname),
		choice(section+".tls_min_version", &t.TLSMinVersion, "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"),
		commas(section+".tls_cipher_suites", &t.TLSCipherSuites),
	}
}

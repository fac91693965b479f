package config

import (
	"crypto/tls"
	"encoding/base64"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/adhocore/gronx"
)

var (
	datacenterName = regexp.MustCompile(`^[a-z0-9_-]+$`)
	hostLabel      = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)
	metaKey        = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	octalMode      = regexp.MustCompile(`^0?[0-7]{3}$`)
	uuid           = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// validate checks what a single value cannot tell; bounds of single values stand in the table.
func (c *checker) validate() {
	c.validateIdentity()
	c.validateMode()
	c.validatePorts()
	c.validateJoin()
	c.validateHTTP()
	c.validateDefinitions()
	c.validateTelemetry()
	c.validateBackup()
	c.validateTLS("tls.internal_rpc", &c.r.TLS.InternalRPC)
	c.validateTLS("tls.https", &c.r.TLS.HTTPS)
}

func (c *checker) validateIdentity() {
	r := c.r
	switch {
	case r.NodeName == "":
		c.fail("%s cannot be empty", label("node_name"))
	case !hostLabel.MatchString(r.NodeName):
		c.warn("%s %q will not be found by DNS: use up to 63 letters, digits and dashes", label("node_name"), r.NodeName)
	}
	if r.NodeID != "" && !uuid.MatchString(r.NodeID) {
		c.fail("%s must be a UUID, got %q", label("node_id"), r.NodeID)
	}
	if !datacenterName.MatchString(r.Datacenter) {
		c.fail("%s must be letters, digits, - and _, got %q", label("datacenter"), r.Datacenter)
	}
	if len(r.NodeMeta) > 64 {
		c.fail("%s holds %d keys, more than 64", label("node_meta"), len(r.NodeMeta))
	}
	for _, k := range slices.Sorted(maps.Keys(r.NodeMeta)) {
		switch {
		case !metaKey.MatchString(k):
			c.fail("%s: the key %q must be up to 128 letters, digits, - and _", label("node_meta"), k)
		case strings.HasPrefix(k, "consul-"):
			c.fail("%s: the key %q starts with consul-, which is reserved", label("node_meta"), k)
		case len(r.NodeMeta[k]) > 512:
			c.fail("%s: the value of %q is longer than 512 bytes", label("node_meta"), k)
		}
	}
}

func (c *checker) validateMode() {
	r := c.r
	if r.DataDir == "" && !r.Dev {
		c.fail("data_dir cannot be empty: set -data-dir or data_dir")
	}
	if !r.Server {
		if r.Bootstrap || r.BootstrapExpect > 0 {
			c.fail("bootstrap (-bootstrap) and bootstrap_expect (-bootstrap-expect) need server mode: set -server or server")
		}
		if c.starting || c.keys.isSet["server"] {
			c.fail("server mode is off, and Praetor has no client agent yet: set -server or server")
		} else {
			c.warn("server mode is off: start with -server or set server")
		}
	}
	switch n := r.BootstrapExpect; {
	case n > 0 && r.Bootstrap:
		c.fail("bootstrap (-bootstrap) and bootstrap_expect (-bootstrap-expect) exclude each other: remove one")
	case n == 2:
		c.warn("%s of 2 makes a cluster that stops when one server fails: use 3", label("bootstrap_expect"))
	case n > 0 && n%2 == 0:
		c.warn("%s of %d survives no more failures than %d: use an odd number", label("bootstrap_expect"), n, n-1)
	}
	if r.ReadReplica && (r.Bootstrap || r.BootstrapExpect > 0) {
		c.fail("%s never votes, so it cannot start a cluster: remove bootstrap and bootstrap_expect", label("read_replica"))
	}
	if r.Encrypt != "" {
		key, err := base64.StdEncoding.DecodeString(r.Encrypt)
		if n := len(key); err != nil || n != 16 && n != 24 && n != 32 {
			c.fail("%s must be base64 of 16, 24 or 32 bytes, as praetor keygen makes it", label("encrypt"))
		}
	}
}

// validatePorts refuses two listeners on one port of one address.
func (c *checker) validatePorts() {
	r := c.r
	listeners := []struct {
		key   string
		port  int
		addrs []string
	}{
		{"ports.http", r.Ports.HTTP, r.Addresses.HTTP},
		{"ports.https", r.Ports.HTTPS, r.Addresses.HTTPS},
		{"ports.serf_lan", r.Ports.SerfLAN, []string{r.BindAddr}},
		{"ports.server", r.Ports.Server, []string{r.BindAddr}},
	}
	for i, a := range listeners {
		for _, b := range listeners[i+1:] {
			if a.port == b.port && a.port > 0 && overlap(a.addrs, b.addrs) {
				c.fail("%s and %s are both %d", label(a.key), label(b.key), a.port)
			}
		}
	}
	if m := r.UnixSockets.Mode; m != "" && !octalMode.MatchString(m) {
		c.fail("unix_sockets.mode must be octal such as 0660, got %q", m)
	}
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool {
			isSocket := strings.HasPrefix(x, "unix://") || strings.HasPrefix(y, "unix://")
			return !isSocket && (x == y || unspecified(x) || unspecified(y))
		})
	})
}

func (c *checker) validateJoin() {
	for _, addr := range c.r.RetryJoin {
		if strings.Contains(addr, "provider=") {
			c.fail("%s %q asks a cloud for addresses, which Praetor does not: give addresses", label("retry_join"), addr)
		} else if strings.TrimSpace(addr) == "" {
			c.fail("%s cannot hold an empty address", label("retry_join"))
		}
	}
}

func (c *checker) validateHTTP() {
	for _, cidr := range c.r.HTTPConfig.AllowWriteHTTPFrom {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			c.fail("%s must hold networks such as 10.0.0.0/8, got %q", label("http_config.allow_write_http_from"), cidr)
		}
	}
	headers := c.r.HTTPConfig.ResponseHeaders
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(headers[name], "\r\n") {
			c.fail("http_config.response_headers: %q cannot be an HTTP header", name)
		}
	}
}

func (c *checker) validateTelemetry() {
	t := &c.r.Telemetry
	t.PrefixFilter = slices.DeleteFunc(t.PrefixFilter, func(rule string) bool {
		bad := !strings.HasPrefix(rule, "+") && !strings.HasPrefix(rule, "-")
		if bad {
			c.warn("telemetry.prefix_filter: %q is skipped: a rule starts with + or -", rule)
		}
		return bad
	})
}

func (c *checker) validateBackup() {
	b := &c.r.Backup
	if b.Interval != 0 && b.Cron != "" {
		c.fail("backup.interval and backup.cron exclude each other: remove one")
	}
	if b.Cron != "" && !gronx.IsValid(b.Cron) {
		c.fail("backup.cron %q is not a cron expression: minute hour day month weekday", b.Cron)
	}
	if b.PassphraseFile != "" && (b.IdentityFile != "" || len(b.Recipients) > 0) {
		c.fail("backup.passphrase_file excludes backup.recipients and backup.identity_file: remove one or the others")
	}
	if b.Target == "" && (c.keys.isSet["backup.interval"] || b.Cron != "") {
		c.warn("backup has a schedule but no target, so no backups are kept: set backup.target")
	}
}

func (c *checker) validateTLS(section string, t *TLSSection) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		c.fail("%s needs cert_file and key_file, or neither", section)
	}
	if t.VerifyIncoming && (t.CertFile == "" || t.CAFile == "" && t.CAPath == "") {
		c.fail("%s.verify_incoming needs cert_file, key_file and ca_file or ca_path", section)
	}
	if t.VerifyOutgoing && t.CAFile == "" && t.CAPath == "" {
		c.fail("%s.verify_outgoing needs ca_file or ca_path", section)
	}
	for _, name := range t.TLSCipherSuites {
		known := func(s *tls.CipherSuite) bool { return s.Name == name }
		if !slices.ContainsFunc(tls.CipherSuites(), known) && !slices.ContainsFunc(tls.InsecureCipherSuites(), known) {
			c.fail("%s.tls_cipher_suites: %q is not a cipher suite", section, name)
		}
	}
}

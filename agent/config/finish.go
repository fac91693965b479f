package config

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"
)

// checker completes and checks a merged Runtime, and collects what is wrong with it.
type checker struct {
	r        *Runtime
	keys     *keys
	starting bool // the configuration is about to be used as it is
	errs     []error
}

func (c *checker) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *checker) warn(format string, args ...any) { c.keys.warn(format, args...) }

// finish works out what follows from the keys that are set.
func (c *checker) finish(host Host) {
	r := c.r
	r.NodeName = strings.TrimSpace(cmp.Or(r.NodeName, host.Name))
	if r.NodeName == "" {
		r.NodeName, _ = os.Hostname() // validate complains if there is none
	}
	r.NodeID = strings.ToLower(r.NodeID)
	r.Datacenter = strings.ToLower(r.Datacenter)

	if r.Dev {
		c.finishDev()
	}
	if r.BootstrapExpect == 1 && !r.Bootstrap {
		r.Bootstrap, r.BootstrapExpect = true, 0
	}

	times := time.Duration(r.Raft.Multiplier)
	r.Raft.HeartbeatTimeout *= times
	r.Raft.ElectionTimeout *= times
	r.Raft.LeaderLeaseTimeout *= times
	if r.Raft.LogStoreBackend == "default" {
		r.Raft.LogStoreBackend = ""
	}
	if r.Logging.Level == "ERR" {
		r.Logging.Level = "ERROR"
	}

	if r.Backup.Target != "" && r.Backup.Interval == 0 && r.Backup.Cron == "" {
		r.Backup.Interval = time.Hour
	}
	c.finishTLS()
	c.finishAddresses(host)
}

// finishDev takes back what the sources say against being a cluster of one in memory.
func (c *checker) finishDev() {
	r := c.r
	if r.BootstrapExpect != 0 {
		c.fail("%s cannot be used with -dev: a development server is a cluster by itself", label("bootstrap_expect"))
		r.BootstrapExpect = 0
	}
	if r.DataDir != "" {
		c.warn("%s is ignored: -dev keeps everything in memory", label("data_dir"))
		r.DataDir = ""
	}
	r.Bootstrap = true
}

func (c *checker) finishTLS() {
	t := &c.r.TLS
	c.keys.inherit("tls.internal_rpc", "tls.defaults")
	c.keys.inherit("tls.https", "tls.defaults")
	for _, s := range []*TLSSection{&t.Defaults, &t.InternalRPC, &t.HTTPS} {
		s.TLSMinVersion = cmp.Or(s.TLSMinVersion, "TLSv1_2")
		s.VerifyOutgoing = s.VerifyOutgoing || s.VerifyServerHostname // a name can only be checked on a verified certificate
	}
}

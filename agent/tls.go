package agent

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
	"praetor/rpcserver"
)

// certificates are the files that one TLS section of the configuration names.
// They can be read again while connections are made.
type certificates struct {
	section string // "tls.https"
	config  config.TLSSection
	logger  hclog.Logger
	files   atomic.Pointer[tlsFiles]
}

// tlsFiles is what the files held.
type tlsFiles struct {
	own   *tls.Certificate // nil: none
	roots *x509.CertPool   // nil: none
}

func newCertificates(section string, c config.TLSSection, logger hclog.Logger) (*certificates, error) {
	certs := &certificates{section: section, config: c, logger: logger}
	files, err := certs.read()
	if err != nil {
		return nil, err
	}
	certs.files.Store(files)
	return certs, nil
}

// read reads the files; what is in force stays.
func (c *certificates) read() (*tlsFiles, error) {
	files := &tlsFiles{}
	if c.config.CertFile != "" {
		own, err := tls.LoadX509KeyPair(c.config.CertFile, c.config.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s.cert_file %s with key_file %s: %w", c.section, c.config.CertFile, c.config.KeyFile, err)
		}
		if own.Leaf != nil && time.Now().After(own.Leaf.NotAfter) {
			c.logger.Warn("certificate has expired", "key", c.section+".cert_file", "file", c.config.CertFile, "since", own.Leaf.NotAfter)
		}
		files.own = &own
	}
	var names []string
	if c.config.CAPath != "" {
		entries, err := os.ReadDir(c.config.CAPath)
		if err != nil {
			return nil, fmt.Errorf("%s.ca_path: %w", c.section, err)
		}
		for _, e := range entries {
			if name := filepath.Join(c.config.CAPath, e.Name()); !isDir(name) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("%s.ca_path: no files in %s", c.section, c.config.CAPath)
		}
	}
	key := "ca_path"
	if c.config.CAFile != "" {
		names, key = []string{c.config.CAFile}, "ca_file"
	}
	for _, name := range names {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", c.section, key, err)
		}
		if files.roots == nil {
			files.roots = x509.NewCertPool()
		}
		if !files.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s.%s: %s holds no certificate in PEM", c.section, key, name)
		}
	}
	return files, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// base has what both directions share.
func (c *certificates) base() *tls.Config {
	versions := map[string]uint16{"TLSv1_0": tls.VersionTLS10, "TLSv1_1": tls.VersionTLS11, "TLSv1_2": tls.VersionTLS12, "TLSv1_3": tls.VersionTLS13}
	config := &tls.Config{MinVersion: cmp.Or(versions[c.config.TLSMinVersion], tls.VersionTLS12)}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		for _, name := range c.config.TLSCipherSuites {
			if suite.Name == name {
				config.CipherSuites = append(config.CipherSuites, suite.ID)
			}
		}
	}
	return config
}

// incoming is the configuration of the serving side, nil without a certificate
// to show. Every handshake uses the files as last read; accepted is called when
// the peer has shown what it must.
func (c *certificates) incoming(protocols []string, accepted func(*tls.ClientHelloInfo)) *tls.Config {
	if c.files.Load().own == nil {
		return nil
	}
	config := c.base()
	if config.NextProtos = protocols; len(config.CipherSuites) > 0 {
		config.NextProtos = nil // HTTP/2 has its own demands on them
	}
	config.SessionTicketsDisabled = c.config.VerifyIncoming // a session would outlive the certificate it began with
	if c.config.VerifyIncoming {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	outer := config.Clone()
	outer.CipherSuites = nil
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		files := c.files.Load()
		inner := config.Clone()
		inner.Certificates = []tls.Certificate{*files.own}
		inner.ClientCAs = files.roots
		if accepted != nil {
			inner.VerifyConnection = func(tls.ConnectionState) error { accepted(hello); return nil }
		}
		return inner, nil
	}
	return outer
}

// outgoing is the configuration of the dialing side. With mustBe the peer's
// certificate must be for that name; serverName is what the peer is told that we
// look for.
func (c *certificates) outgoing(serverName, mustBe string) *tls.Config {
	config := c.base()
	config.ServerName = cmp.Or(mustBe, serverName)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if own := c.files.Load().own; own != nil {
			return own, nil
		}
		return &tls.Certificate{}, nil
	}
	// crypto/tls knows no check of the chain alone, nor roots that change: the check is our own.
	config.InsecureSkipVerify = true
	if c.config.VerifyOutgoing {
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server shows no certificate")
			}
			options := x509.VerifyOptions{Roots: c.files.Load().roots, Intermediates: x509.NewCertPool(), DNSName: mustBe}
			for _, cert := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(cert)
			}
			_, err := state.PeerCertificates[0].Verify(options)
			return err
		}
	}
	return config
}

// serverTLS is how the RPC port and connections to other servers are secured.
// Who asks others for TLS can be asked for it: with verify_incoming the servers
// of a cluster dial each other with TLS even if verify_outgoing is off.
func (a *Agent) serverTLS() rpcserver.TLS {
	t := rpcserver.TLS{Incoming: a.rpcTLS.incoming(nil, nil), Required: a.rpcTLS.config.VerifyIncoming}
	if a.rpcTLS.config.VerifyOutgoing || a.rpcTLS.config.VerifyIncoming {
		name := ""
		if a.rpcTLS.config.VerifyServerHostname {
			name = "server." + a.config.Datacenter + ".consul"
		}
		t.Outgoing = a.rpcTLS.outgoing(a.config.ServerName, name)
	}
	return t
}

package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"praetor/agent"
	"praetor/agent/config"
	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
)

// authority is a CA of the test's own, its files and pools.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	ca.key = newKey(t)
	ca.cert = ca.sign(t, "ca", template, template, &ca.key.PublicKey, ca.key)
	ca.pool.AddCert(ca.cert)
	return ca
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *authority) sign(t testing.TB, name string, template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	ca.write(t, name+".pem", "CERTIFICATE", der)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (ca *authority) write(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(filepath.Join(ca.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes name.pem and name-key.pem for hosts (and 127.0.0.1).
func (ca *authority) issue(t testing.TB, name string, hosts ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	ca.sign(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: hosts, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca.cert, &key.PublicKey, ca.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca.write(t, name+"-key.pem", "PRIVATE KEY", der)
	cert, err := tls.LoadX509KeyPair(filepath.Join(ca.dir, name+".pem"), filepath.Join(ca.dir, name+"-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// section names the files of a certificate in HCL.
func (ca *authority) section(name, cert, more string) string {
	return fmt.Sprintf(`tls { %s { ca_file = "%[2]s/ca.pem" cert_file = "%[2]s/%[3]s.pem" key_file = "%[2]s/%[3]s-key.pem" %[4]s } }`,
		name, ca.dir, cert, more)
}

const mutual = "verify_incoming = true verify_outgoing = true verify_server_hostname = true"

// twoServers starts a leader and a server that joins it.
func twoServers(t *testing.T, hcl1, hcl2 string) (a, b started) {
	t.Helper()
	a = start(t, settings(t, hcl1))
	b = start(t, settings(t, hcl2, fmt.Sprintf(`bootstrap = false node_name = "node2" retry_join = ["127.0.0.1:%d"]`, a.Server().LocalMember().Port)))
	b.log.await(t, "joined: members=2")
	return a, b
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issue(t, "one", "server.dc1.consul")
	ca.issue(t, "two", "server.dc1.consul")
	a, b := twoServers(t, ca.section("internal_rpc", "one", mutual), ca.section("internal_rpc", "two", mutual))
	a.put(t, "k", "v")
	testutil.Eventually(t, 20*time.Second, "the second server has the key", func() error {
		if got := b.get(t, "k"); got != "v" { // forwarded to the leader, over TLS
			return fmt.Errorf("got %q", got)
		}
		var own structs.IndexedDirEntries // replicated, over TLS too
		q := &structs.KeyRequest{Datacenter: "dc1", Key: "k", QueryOptions: structs.QueryOptions{AllowStale: true}}
		if err := b.Server().Call(t.Context(), "KV.Get", q, &own); err != nil || len(own.Entries) != 1 {
			return fmt.Errorf("of its own: got %v, %v", own.Entries, err)
		}
		return nil
	})

	_, err := client.DialPlain(a.Server().Addr())
	if err == nil {
		a.log.await(t, "plain RPC connection refused")
	}
	stranger := newAuthority(t).issue(t, "stranger", "server.dc1.consul")
	for _, tt := range []struct {
		name  string
		certs []tls.Certificate
		want  bool
	}{
		{"no certificate", nil, false},
		{"another authority's", []tls.Certificate{stranger}, false},
		{"ours", []tls.Certificate{ca.issue(t, "client")}, true},
	} {
		c, err := client.NewWithConfig(client.Config{
			Servers: []string{a.Server().Addr()}, Timeout: 2 * time.Second,
			TLS: &tls.Config{RootCAs: ca.pool, Certificates: tt.certs},
		})
		if err != nil {
			t.Fatal(err)
		}
		var leader string
		err = c.Read(t.Context(), "Status.Leader", &structs.DCSpecificRequest{}, &leader, 0)
		if (err == nil) != tt.want {
			t.Errorf("%s: got %v", tt.name, err)
		}
		c.Close()
	}
}

// A certificate of the right authority, but not for a server of this
// datacenter, is good enough only where names are not checked.
func TestServerHostname(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issue(t, "one", "client.dc1.consul")
	ca.issue(t, "two", "server.dc1.consul")
	for _, tt := range []struct {
		verify string
		want   bool
	}{
		{"verify_outgoing = true", true},
		{"verify_server_hostname = true", false},
	} {
		t.Run(tt.verify, func(t *testing.T) {
			t.Parallel()
			_, b := twoServers(t, ca.section("internal_rpc", "one", "verify_outgoing = true"), ca.section("internal_rpc", "two", tt.verify)+` performance { rpc_hold_timeout = "500ms" }`)
			patience := 2 * time.Second // for what must not happen
			if tt.want {
				patience = time.Minute
			}
			var err error
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
				var reply structs.IndexedDirEntries
				if err = b.Server().Call(t.Context(), "KV.Get", &structs.KeyRequest{Datacenter: "dc1", Key: "k"}, &reply); err == nil {
					break
				}
			}
			if (err == nil) != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issue(t, "web", "first.example")
	hcl := ca.section("https", "web", "") + " ports { https = 8501 } "
	r := settings(t, hcl)
	base := fmt.Sprintf(`server = true bootstrap = true bind_addr = "127.0.0.1" data_dir = %q `, r.DataDir)
	a := start(t, r, func(o *agent.Options) {
		o.Load = func() (*config.Runtime, []string, error) {
			r, err := tryLoad(base + hcl)
			return r, nil, err
		}
	})
	if got := a.HTTPAddrs(); len(got) != 2 || !strings.HasPrefix(got[1], "https://") {
		t.Fatalf("got addresses %q", got)
	}
	ask := func(name string) error {
		c := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: ca.pool, ServerName: name},
		}}
		reply, err := c.Get(a.HTTPAddrs()[1] + "/v1/status/peers")
		if err == nil {
			reply.Body.Close()
			if reply.StatusCode != 200 || reply.ProtoMajor != 2 {
				err = fmt.Errorf("got %s, %s", reply.Status, reply.Proto)
			}
		}
		return err
	}
	if err := ask("first.example"); err != nil {
		t.Error(err)
	}

	// A new certificate in the same files.
	ca.issue(t, "web", "second.example")
	if err := ask("second.example"); err == nil {
		t.Error("the new certificate is shown before a reload")
	}
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := ask("second.example"); err != nil {
		t.Error(err)
	}

	// A broken one.
	if err := os.WriteFile(filepath.Join(ca.dir, "web.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.Reload(), "tls.https.cert_file")
	if err := ask("second.example"); err != nil {
		t.Error(err)
	}
}

func TestHTTPSWantsCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	own := ca.issue(t, "web", "web.example")
	a := start(t, settings(t, ca.section("https", "web", "verify_incoming = true")+` ports { http = -1 https = 8501 }
		limits { https_handshake_timeout = "2s" }`))
	for _, certs := range [][]tls.Certificate{nil, {own}} {
		c := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: ca.pool, ServerName: "web.example", Certificates: certs},
		}}
		reply, err := c.Get(a.HTTPAddrs()[0] + "/v1/status/peers")
		if (err == nil) != (certs != nil) {
			t.Errorf("%d certificates: got %v", len(certs), err)
		}
		if err == nil {
			reply.Body.Close()
		}
	}

	// Who does not begin is not waited for.
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.HTTPAddrs()[0], "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("silence on the HTTPS port: got %v, want the connection closed", err)
	}
}

func TestHTTPSWithoutCertificate(t *testing.T) {
	t.Parallel()
	a := start(t, settings(t, "ports { https = 8501 }"))
	if got := a.HTTPAddrs(); len(got) != 1 || !strings.Contains(a.log.String(), "HTTPS is off") {
		t.Errorf("got addresses %q", got)
	}
}

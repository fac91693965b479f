package rpcserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/client"
	"praetor/rpcserver/wire"
)

// authority signs certificates for one test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.cert, a.key = a.issue("test CA", true)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(name string, isCA bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if isCA {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// config returns a TLS configuration with a certificate of that name.
func (a *authority) config(name string) *tls.Config {
	a.t.Helper()
	cert, key := a.issue(name, false)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		RootCAs:      a.pool, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := startServer(t, func(c *rpcserver.Config) {
		c.TLS = rpcserver.TLS{Incoming: ca.config("server.dc1.consul"), Outgoing: ca.config("server.dc1.consul"), Required: true}
	})
	c, err := client.NewWithConfig(client.Config{Servers: []string{s.Addr()}, TLS: ca.config("client")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.KV().Put(context.Background(), "secret", []byte("1")); err != nil {
		t.Fatal(err)
	}

	inside := func(first byte) *tls.Conn {
		conn, err := client.StartTLS(context.Background(), dialRaw(t, s), s.Addr(), ca.config("client"))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write([]byte{first}); err != nil {
			t.Fatal(err)
		}
		return conn.(*tls.Conn)
	}
	rpc := plainClient(t, inside(wire.ByteRPC), nil)
	if err := rpc.Call("Status.Ping", struct{}{}, &struct{}{}); err != nil {
		t.Errorf("plain client in TLS: %v", err)
	}
	newRaw(t, inside(wire.ByteTLS)).mustEnd() // no TLS in TLS
	for _, first := range []byte{wire.ByteRPC, wire.ByteRaft, wire.ByteYamux, wire.ByteSnapshot, 2, 8} {
		newRaw(t, dialRaw(t, s, first)).mustEnd()
	}
	// Neither strangers' certificates nor none.
	for _, config := range []*tls.Config{newAuthority(t).config("client"), {}} {
		config.RootCAs = ca.pool
		conn, err := client.StartTLS(context.Background(), dialRaw(t, s), s.Addr(), config)
		if err == nil { // in TLS 1.3 the client hears of it later
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Error("TLS without a certificate of ours works")
		}
	}
}

func TestTLSHandshakeTimeout(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := startServer(t, func(c *rpcserver.Config) {
		c.HandshakeTimeout = 2 * time.Second
		c.TLS.Incoming = ca.config("server.dc1.consul")
	})
	newRaw(t, dialRaw(t, s, wire.ByteTLS)).mustEnd()
	conn, err := client.StartTLS(context.Background(), dialRaw(t, s), s.Addr(), ca.config("client"))
	if err != nil {
		t.Fatal(err)
	}
	newRaw(t, conn).mustEnd() // no first byte inside
	if err := newClient(t, s).KV().Put(context.Background(), "plain", nil); err != nil {
		t.Errorf("plain connection where TLS may be used: %v", err)
	}
}

func TestPlainServerRefusesTLS(t *testing.T) {
	t.Parallel()
	newRaw(t, dialRaw(t, startServer(t), wire.ByteTLS)).mustEnd()
}

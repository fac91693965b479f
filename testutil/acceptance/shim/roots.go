package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"time"
)

// trustDomain is made of the cluster id that the suite puts into its configurations.
const trustDomain = "11111111-2222-3333-4444-555555555555.consul"

// roots is the answer to the probe: one root certificate that nobody has signed anything with.
func roots() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	now := time.Now().UTC().Truncate(time.Second)
	certificate := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "acceptance shim"},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:             now,
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	must(err)
	answer, err := json.Marshal(map[string]any{
		"ActiveRootID": "shim",
		"TrustDomain":  trustDomain,
		"Roots": []map[string]any{{
			"ID":                "shim",
			"Name":              certificate.Subject.CommonName,
			"SerialNumber":      1,
			"NotBefore":         certificate.NotBefore,
			"NotAfter":          certificate.NotAfter,
			"RootCert":          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
			"IntermediateCerts": nil,
			"Active":            true,
			"PrivateKeyType":    "ec",
			"PrivateKeyBits":    256,
			"CreateIndex":       1,
			"ModifyIndex":       1,
		}},
	})
	must(err)
	return string(answer)
}

// must is for errors that no input can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

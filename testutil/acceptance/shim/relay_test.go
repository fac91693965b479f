package main

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

const other = "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"

// dial connects to a shim whose agent is a function of one connection.
func dial(t *testing.T, agent func(net.Conn)) net.Conn {
	t.Helper()
	dir := t.TempDir()
	listen := func(name string) (net.Listener, string) {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l, path
	}
	behind, backend := listen("back")
	go func() {
		if conn, err := behind.Accept(); err == nil {
			agent(conn)
			conn.Close()
		}
	}()
	front, address := listen("front")
	go serve(front, backend, "the answer")
	conn, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestRelayIsTransparent(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{
		"another request":          other,
		"shorter than the probe":   "GET",
		"almost the probe":         strings.Replace(probe, "roots", "roots?pem=true", 1) + "\r\n",
		"another method":           strings.Replace(probe, "GET", "PUT", 1) + "\r\n",
		"the probe, but not first": other + probe + "Host: x\r\n\r\n",
		"no HTTP at all":           "\x00\x01\xff",
		"a long body":              other + strings.Repeat("0123456789", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, func(agent net.Conn) { io.Copy(agent, agent) }) // ends when the client's end is passed on
			go func() {
				io.WriteString(conn, sent)
				conn.(*net.UnixConn).CloseWrite()
			}()
			if got, err := io.ReadAll(conn); string(got) != sent || err != nil {
				t.Errorf("got %d bytes %.100q, %v; want %d bytes %.100q", len(got), got, err, len(sent), sent)
			}
		})
	}
}

// A watcher sees each line when it is written, and the agent sees that the watcher has gone.
func TestRelayStreams(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	conn := dial(t, func(agent net.Conn) {
		io.WriteString(agent, "first\n")
		in := bufio.NewReader(agent)
		if line, err := in.ReadString('\n'); err != nil || line != other[:strings.Index(other, "\n")+1] {
			t.Errorf("the agent got %q, %v", line, err)
		}
		io.WriteString(agent, "second\n")
		io.Copy(io.Discard, in)
		close(gone)
	})
	io.WriteString(conn, other)
	out := bufio.NewReader(conn)
	for _, want := range []string{"first\n", "second\n"} {
		if got, err := out.ReadString('\n'); got != want || err != nil {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	conn.Close()
	<-gone
}

func TestProbeIsAnswered(t *testing.T) {
	t.Parallel()
	conn := dial(t, func(net.Conn) { t.Error("the agent was asked") })
	for _, piece := range []string{"GET /v1/agent/conn", "ect/ca/roots HTTP/1.1\r", "\nHost: x\r\n", "\r\n"} {
		io.WriteString(conn, piece)
	}
	got, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(got), "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(string(got), "\r\n\r\nthe answer") || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// What the suite looks at, and that a client can make something of the certificate.
func TestRoots(t *testing.T) {
	t.Parallel()
	var got struct {
		ActiveRootID string
		Roots        []struct {
			ID, RootCert string
			Active       bool
		}
	}
	if err := json.Unmarshal([]byte(roots()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Roots) != 1 || got.ActiveRootID == "" || got.Roots[0].ID != got.ActiveRootID || !got.Roots[0].Active {
		t.Fatalf("got %+v", got)
	}
	if block, _ := pem.Decode([]byte(got.Roots[0].RootCert)); block == nil || block.Type != "CERTIFICATE" {
		t.Errorf("got certificate %q", got.Roots[0].RootCert)
	}
}

package vnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil/vnet"
)

const (
	ip1, ip2, ip3 = "10.0.0.1", "10.0.0.2", "10.0.0.3"
	port          = 8300
)

// world is a network in a bubble, with the steps that tests take on it.
type world struct {
	*vnet.Network
	t *testing.T
}

// virtual runs f with a fresh network in virtual time and afterwards asks
// that everything is closed.
func virtual(t *testing.T, f func(t *testing.T, w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := world{vnet.New(1), t}
		t.Cleanup(func() { w.MustBeClosed(t) })
		f(t, w)
	})
}

// listen listens on the usual port until the test ends.
func (w world) listen(ip string) net.Listener {
	w.t.Helper()
	l, err := w.Host(ip).Listen(addr(ip))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

// dial opens a stream that lasts until the test ends.
func (w world) dial(from, to string) net.Conn {
	w.t.Helper()
	c, err := w.Host(from).Dial(w.t.Context(), addr(to))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// pair returns both ends of a stream from ip1 to ip2.
func (w world) pair() (client, server net.Conn) {
	w.t.Helper()
	l := w.listen(ip2)
	client = w.dial(ip1, ip2)
	server, err := l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { server.Close() })
	return client, server
}

// dialWithin dials with a timeout and returns the error and how long it took.
func (w world) dialWithin(timeout time.Duration, from, to string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	start := time.Now()
	c, err := w.Host(from).Dial(ctx, addr(to))
	if err == nil {
		c.Close()
	}
	return time.Since(start), err
}

func addr(ip string) string {
	return fmt.Sprintf("%s:%d", ip, port)
}

func mustWrite(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("write %q: %d, %v", s, n, err)
	}
}

// mustRead reads exactly what is wanted and returns how long it waited.
func mustRead(t *testing.T, c net.Conn, want string) time.Duration {
	t.Helper()
	start := time.Now()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
	return time.Since(start)
}

// mustNotRead asks that nothing arrives for d.
func mustNotRead(t *testing.T, c net.Conn, d time.Duration) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(d))
	defer c.SetReadDeadline(time.Time{})
	b := make([]byte, 100)
	if n, err := c.Read(b); !isTimeout(err) {
		t.Fatalf("read %q, %v; want a timeout", b[:n], err)
	}
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func mustTake(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Errorf("took %v, want %v", got, want)
	}
}

func readError(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}

func writeError(c net.Conn) error {
	_, err := c.Write([]byte("x"))
	return err
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

package vnet_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"praetor/testutil/vnet"
)

// What golang.org/x/net asks of every net.Conn, in real time.
func TestConnConforms(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		n := vnet.New(1)
		l, err := n.Host(ip1).Listen(addr(ip1))
		if err != nil {
			return nil, nil, nil, err
		}
		if c1, err = n.Host(ip2).Dial(t.Context(), addr(ip1)); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = l.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { c1.Close(); c2.Close(); l.Close() }, nil
	})
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		start := time.Now()
		mustWrite(t, client, "ave")
		mustRead(t, server, "ave")
		mustWrite(t, server, "salve")
		mustRead(t, client, "salve")
		mustTake(t, time.Since(start), 0)

		if got, want := server.LocalAddr().(*net.TCPAddr).String(), addr(ip2); got != want {
			t.Errorf("server is at %s, want %s", got, want)
		}
		if got, want := client.RemoteAddr().(*net.TCPAddr).String(), addr(ip2); got != want {
			t.Errorf("client sees %s, want %s", got, want)
		}
		if got := client.LocalAddr().(*net.TCPAddr); got.IP.String() != ip1 || got.Port == 0 {
			t.Errorf("client is at %s, want a port of %s", got, ip1)
		}
		if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
			t.Errorf("server sees %s, want %s", got, want)
		}
	})
}

func TestLargeTransfer(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		w.SetLink(ip1, ip2, vnet.Link{Delay: time.Millisecond, Jitter: time.Millisecond})
		client, server := w.pair()
		sent := make([]byte, 5<<20)
		chacha := rand.NewChaCha8([32]byte{})
		chacha.Read(sent)

		failed := make(chan error, 1)
		go func() {
			_, err := io.Copy(client, bytes.NewReader(sent))
			failed <- err
			client.Close()
		}()
		time.Sleep(time.Second)
		if len(failed) > 0 {
			t.Error("5 MiB went into the buffer")
		}
		got, err := io.ReadAll(server)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Errorf("got %d bytes that differ from the %d sent", len(got), len(sent))
		}
	})
}

func TestBufferSize(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		client.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := client.Write(make([]byte, 1<<20))
		if n != 256<<10 || !isTimeout(err) {
			t.Errorf("wrote %d bytes, %v; want 256 KiB and a timeout", n, err)
		}
		io.ReadFull(server, make([]byte, 10))
		client.SetWriteDeadline(time.Time{})
		mustWrite(t, client, "0123456789")
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		start := time.Now()
		client.SetReadDeadline(start.Add(3 * time.Second))
		err := readError(client)
		mustBe(t, err, os.ErrDeadlineExceeded)
		mustTake(t, time.Since(start), 3*time.Second)
		if !isTimeout(err) {
			t.Errorf("%v is no timeout", err)
		}
		mustWrite(t, client, "writing goes on")
		mustWrite(t, server, "late")
		mustBe(t, readError(client), os.ErrDeadlineExceeded)
		client.SetDeadline(time.Time{})
		mustRead(t, client, "late")

		// A new deadline reaches a Read that sleeps already.
		go func() {
			time.Sleep(time.Second)
			client.SetReadDeadline(time.Unix(1, 0))
		}()
		start = time.Now()
		mustBe(t, readError(client), os.ErrDeadlineExceeded)
		mustTake(t, time.Since(start), time.Second)
	})
}

func TestHalfClose(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		mustWrite(t, client, "question")
		if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		mustBe(t, writeError(client), syscall.EPIPE)
		mustRead(t, server, "question")
		mustBe(t, readError(server), io.EOF)
		mustWrite(t, server, "answer")
		mustWrite(t, server, " and more")
		mustRead(t, client, "answer and more")
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		errs := make(chan error, 2)
		go func() { errs <- readError(client) }()
		go func() {
			_, err := client.Write(make([]byte, 1<<20))
			errs <- err
		}()
		synctest.Wait()
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		mustBe(t, <-errs, net.ErrClosed)
		mustBe(t, <-errs, net.ErrClosed)
		mustBe(t, client.Close(), net.ErrClosed)
		mustBe(t, client.SetDeadline(time.Time{}), net.ErrClosed)

		if got, err := io.ReadAll(server); len(got) != 256<<10 || err != nil {
			t.Errorf("the peer read %d bytes, %v; want the 256 KiB that were buffered", len(got), err)
		}
		mustWrite(t, server, "into the void")
		mustBe(t, writeError(server), syscall.EPIPE)
	})
}

func TestCloseWakesAWriter(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		w.SetLink(ip2, ip1, vnet.Link{Delay: time.Second})
		client, server := w.pair()
		go server.Close()
		start := time.Now()
		_, err := client.Write(make([]byte, 1<<20))
		for err == nil && time.Since(start) < time.Minute {
			time.Sleep(100 * time.Millisecond)
			_, err = client.Write(make([]byte, 1<<20))
		}
		mustBe(t, err, syscall.EPIPE)
	})
}

func TestDelay(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		w.SetLink(ip1, ip2, vnet.Link{Delay: 30 * time.Millisecond})
		w.SetLink(ip2, ip1, vnet.Link{Delay: 12 * time.Millisecond})
		start := time.Now()
		client, server := w.pair()
		mustTake(t, time.Since(start), 42*time.Millisecond)

		mustWrite(t, client, "one")
		time.Sleep(10 * time.Millisecond)
		mustWrite(t, client, "two")
		mustTake(t, mustRead(t, server, "one"), 20*time.Millisecond)
		mustTake(t, mustRead(t, server, "two"), 10*time.Millisecond)
		mustWrite(t, server, "three")
		mustTake(t, mustRead(t, client, "three"), 12*time.Millisecond)

		// A faster link does not let later bytes overtake.
		mustWrite(t, client, "slow")
		w.SetLink(ip1, ip2, vnet.Link{})
		mustWrite(t, client, "fast")
		mustTake(t, mustRead(t, server, "slowfast"), 30*time.Millisecond)

		// The end of file travels no faster than bytes.
		w.SetLink(ip1, ip2, vnet.Link{Delay: time.Second})
		start = time.Now()
		client.Close()
		mustBe(t, readError(server), io.EOF)
		mustTake(t, time.Since(start), time.Second)
	})
}

package vnet_test

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil/vnet"
)

func TestPartitionHoldsStreams(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		w.SetLink(ip1, ip2, vnet.Link{Delay: 10 * time.Millisecond})
		client, server := w.pair()
		mustWrite(t, client, "arrived ")
		time.Sleep(time.Second)
		mustWrite(t, client, "on its way ")
		w.Partition([]string{ip1}, []string{ip2, ip3})
		mustWrite(t, client, "held ")
		mustRead(t, server, "arrived ")
		mustNotRead(t, server, time.Hour)
		mustWrite(t, server, "held too")
		mustNotRead(t, client, time.Hour)
		client.Close() // the close is held as well

		time.AfterFunc(time.Minute, w.Heal)
		mustTake(t, mustRead(t, server, "on its way held "), time.Minute+10*time.Millisecond)
		mustBe(t, readError(server), io.EOF)
	})
}

func TestPartitionGroups(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		all := []string{ip1, ip2, ip3, "10.0.0.4"}
		for _, ip := range all {
			w.listen(ip)
		}
		reach := func(from, to string) bool {
			_, err := w.dialWithin(time.Second, from, to)
			return err == nil
		}
		w.Partition([]string{ip1}, []string{ip2})
		for _, from := range all {
			for _, to := range all {
				unnamed := from[7] >= '3' && to[7] >= '3'
				if got, want := reach(from, to), from == to || unnamed; got != want {
					t.Errorf("%s reaches %s: %v, want %v", from, to, got, want)
				}
			}
		}
		w.Partition([]string{ip1, ip2})
		if !reach(ip1, ip2) || reach(ip2, ip3) {
			t.Error("the second partition did not replace the first")
		}
		w.Heal()
		if !reach(ip2, ip3) {
			t.Error("not healed")
		}
	})
}

func TestBlockOneWay(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		w.Block(ip1, ip2)
		mustWrite(t, client, "stalled")
		mustWrite(t, server, "flowing")
		mustRead(t, client, "flowing")
		mustNotRead(t, server, time.Minute)
		// No handshake without a way back.
		w.listen(ip1)
		_, err := w.dialWithin(time.Second, ip2, ip1)
		mustBe(t, err, context.DeadlineExceeded)

		w.Unblock(ip1, ip2)
		mustTake(t, mustRead(t, server, "stalled"), 0)
	})
}

func TestDialWaitsForHeal(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		w.listen(ip2)
		w.SetLink(ip1, ip2, vnet.Link{Delay: time.Second})
		w.Partition([]string{ip1})
		took, err := w.dialWithin(time.Minute, ip1, ip2)
		mustBe(t, err, context.DeadlineExceeded)
		mustTake(t, took, time.Minute)

		time.AfterFunc(10*time.Second, w.Heal)
		took, err = w.dialWithin(time.Minute, ip1, ip2)
		mustBe(t, err, nil)
		mustTake(t, took, 11*time.Second)
	})
}

func TestStalledWriterSurvivesPeersClose(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		w.Partition([]string{ip1})
		server.Close()
		time.AfterFunc(time.Hour, w.Heal)
		start := time.Now()
		n, err := client.Write(make([]byte, 1<<20))
		mustTake(t, time.Since(start), time.Hour)
		mustBe(t, err, syscall.EPIPE)
		if n < 256<<10 {
			t.Errorf("wrote %d bytes, want at least a buffer full", n)
		}
	})
}

func TestCrash(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, server := w.pair()
		waiting := w.dial(ip1, ip2) // never accepted
		mustWrite(t, server, "last words")
		blocked := make(chan error, 1)
		go func() { blocked <- readError(server) }()
		synctest.Wait()

		dead := w.Host(ip2)
		dead.Crash()
		dead.Crash()
		mustBe(t, <-blocked, net.ErrClosed)
		mustRead(t, client, "last words")
		mustBe(t, readError(client), syscall.ECONNRESET)
		mustBe(t, writeError(client), syscall.ECONNRESET)
		mustBe(t, readError(waiting), syscall.ECONNRESET)
		_, err := w.dialWithin(time.Second, ip1, ip2)
		mustBe(t, err, syscall.ECONNREFUSED)

		// What still runs in the dead process is not heard.
		_, err = dead.Dial(t.Context(), addr(ip1))
		mustBe(t, err, net.ErrClosed)
		_, err = dead.Listen(addr(ip2))
		mustBe(t, err, net.ErrClosed)

		if w.Host(ip2) == dead {
			t.Error("the dead host was handed out again")
		}
		w.listen(ip2)
		mustWrite(t, w.dial(ip1, ip2), "ave")
	})
}

func TestCrashBehindAPartition(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		client, _ := w.pair()
		w.Partition([]string{ip1})
		dialing := make(chan error)
		go func() {
			_, err := w.Host(ip2).Dial(context.Background(), addr(ip1))
			dialing <- err
		}()
		synctest.Wait()
		w.Host(ip2).Crash()
		mustBe(t, <-dialing, net.ErrClosed)
		mustNotRead(t, client, time.Hour)
		w.Heal()
		mustBe(t, readError(client), syscall.ECONNRESET)
	})
}

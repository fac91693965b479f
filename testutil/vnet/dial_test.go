package vnet_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"praetor/testutil/vnet"
)

func TestListen(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		h := w.Host(ip1)
		l := w.listen(ip1)
		for _, test := range []struct {
			addr string
			want error
		}{
			{addr(ip1), syscall.EADDRINUSE},
			{":8300", syscall.EADDRINUSE},
			{"0.0.0.0:8300", syscall.EADDRINUSE},
			{addr(ip2), syscall.EADDRNOTAVAIL},
		} {
			_, err := h.Listen(test.addr)
			mustBe(t, err, test.want)
		}
		for _, bad := range []string{"", ip1, "localhost:1", "10.0.0.1:http", "10.0.0.1:70000"} {
			if _, err := h.Listen(bad); err == nil {
				t.Errorf("listens on %q", bad)
			}
		}

		free, err := h.Listen(":0")
		if err != nil {
			t.Fatal(err)
		}
		if at := free.Addr().(*net.TCPAddr); at.IP.String() != ip1 || at.Port == 0 {
			t.Errorf("port 0 became %s", at)
		}
		free.Close()

		if h != w.Host(ip1) || h == w.Host(ip2) {
			t.Error("one address must be one host")
		}
		accepted := make(chan error)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		synctest.Wait()
		l.Close()
		mustBe(t, <-accepted, net.ErrClosed)
		w.listen(ip1)
	})
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		took, err := w.dialWithin(time.Second, ip1, ip2)
		mustBe(t, err, syscall.ECONNREFUSED)
		mustTake(t, took, 0)
		w.SetLink(ip2, ip1, vnet.Link{Delay: 5 * time.Millisecond})
		took, err = w.dialWithin(time.Second, ip1, ip2)
		mustBe(t, err, syscall.ECONNREFUSED)
		mustTake(t, took, 5*time.Millisecond)

		w.listen(ip2)
		w.SetLink(ip2, ip1, vnet.Link{Delay: 5 * time.Second})
		took, err = w.dialWithin(time.Second, ip1, ip2)
		mustBe(t, err, context.DeadlineExceeded)
		mustTake(t, took, time.Second)
		if !isTimeout(err) {
			t.Errorf("%v is no timeout", err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = w.Host(ip1).Dial(ctx, addr(ip2))
		mustBe(t, err, context.Canceled)
	})
}

func TestFullBacklog(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		l := w.listen(ip2)
		for range 128 {
			w.dial(ip1, ip2)
		}
		took, err := w.dialWithin(time.Second, ip1, ip2)
		mustBe(t, err, context.DeadlineExceeded)
		mustTake(t, took, time.Second)

		time.AfterFunc(time.Second, func() {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		})
		took, err = w.dialWithin(time.Minute, ip1, ip2)
		mustBe(t, err, nil)
		mustTake(t, took, time.Second)
	})
}

package vnet_test

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"praetor/testutil"
	"praetor/testutil/vnet"
)

func TestYamux(t *testing.T) {
	t.Parallel()
	testutil.Bubble(t, func(t *testing.T) {
		w := world{vnet.New(1), t}
		t.Cleanup(func() { w.MustBeClosed(t) })
		dialed, accepted := w.pair()
		config := yamux.DefaultConfig()
		config.LogOutput = io.Discard
		client, err := yamux.Client(dialed, config)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := yamux.Server(accepted, config)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()

		question, err := client.Open()
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, question, "ave")
		answer, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, answer, "ave")
		mustWrite(t, answer, "salve")
		mustRead(t, question, "salve")

		// A partition ends the session when its keepalive goes unanswered.
		w.Partition([]string{ip1})
		start := time.Now()
		<-client.CloseChan()
		if took := time.Since(start); took < time.Second || took > 2*time.Minute {
			t.Errorf("the session ended after %v", took)
		}
	})
}

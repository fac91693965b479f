package testutil_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"praetor/testutil"
)

// Without Bubble's care the second bubble, or the real-time session at the
// end, takes the whole test process down.
func TestBubbleKeepsYamuxTimersApart(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			testutil.Bubble(t, ping)
		})
	}
}

func ping(t *testing.T) {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	a, b := net.Pipe()
	client, err := yamux.Client(a, config)
	if err != nil {
		t.Fatal(err)
	}
	server, err := yamux.Server(b, config)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	defer client.Close()
	start := time.Now()
	if _, err := client.Ping(); err != nil {
		t.Errorf("ping: %v", err)
	}
	if took := time.Since(start); took != 0 {
		t.Errorf("ping took %v of virtual time, want none", took)
	}
}

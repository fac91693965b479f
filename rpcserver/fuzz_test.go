package rpcserver_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/rpcserver/wire"
	"praetor/structs"
	"praetor/testutil/vnet"
)

// FuzzServeConn sends anything to the RPC port. The server must neither panic
// nor keep the connection, and must serve others afterwards. Raft's own
// connections are left out: whoever speaks raft may depose the leader.
func FuzzServeConn(f *testing.F) {
	host := vnet.New(1).Host("10.0.0.1")
	gossip, err := host.GossipTransport(8301)
	if err != nil {
		f.Fatal(err)
	}
	s := startServer(f, func(c *rpcserver.Config) {
		c.BindAddr, c.SerfPort, c.Network, c.GossipTransport = host.IP(), 8301, host, gossip
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 && b[0] == wire.ByteRaft || len(b) > 128<<10 {
			return
		}
		conn, err := host.Dial(context.Background(), s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(b) // fails if the server hangs up before it has all
		conn.(interface{ CloseWrite() error }).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is still open after 2 s")
		}
		var leader string
		if err := s.Call(context.Background(), "Status.Leader", &structs.DCSpecificRequest{}, &leader); err != nil || leader == "" {
			t.Errorf("afterwards: leader %q, %v", leader, err)
		}
	})
}

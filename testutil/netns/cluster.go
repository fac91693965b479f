//go:build linux

package netns

import (
	"context"
	"fmt"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/workload"
)

// Server is a server on a host of its own.
type Server struct {
	*testutil.Process
	At   *Host
	Disk *Disk // nil: a directory of the test's
}

// Cluster is a set of servers that form one cluster.
type Cluster struct {
	*Network
	Servers []*Server
}

// NewCluster prepares n servers, gives each the disk that disk returns, and
// starts them. disk may be nil.
func NewCluster(t testing.TB, seed uint64, n int, disk func() *Disk, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{Network: NewNetwork(t, seed)}
	for range n {
		args := append([]string{fmt.Sprintf("-bootstrap-expect=%d", n), "-hcl", `retry_interval = "500ms"`}, args...)
		for _, other := range c.Servers {
			args = append(args, other.Join())
		}
		s := &Server{At: c.Host()}
		if disk != nil {
			s.Disk = disk() // before the process, which is to be gone when the disk goes
		}
		s.Process = s.At.Process(args...)
		if disk != nil {
			s.Dir = s.Disk.Dir
		}
		c.Servers = append(c.Servers, s)
	}
	for _, s := range c.Servers {
		s.Start()
	}
	for _, s := range c.Servers {
		s.AwaitLeader()
	}
	return c
}

// Workload are the servers as a workload asks them. Feeds are followed over HTTP.
func (c *Cluster) Workload() (servers []workload.Server) {
	for _, s := range c.Servers {
		servers = append(servers, workload.Server{
			Name:    fmt.Sprintf("server-%d", s.RPC),
			Connect: func() (*client.Client, error) { return client.New(s.RPCAddr()) },
			Life:    s.Life,
			Follow:  workload.FollowHTTP("http://"+s.HTTPAddr(), nil),
		})
	}
	return servers
}

// Leader is the address of the server that leads as the first reachable one
// sees it, "" if none knows.
func (c *Cluster) Leader() (addr string) {
	for _, s := range c.Servers {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		client, err := client.New(s.RPCAddr())
		if err != nil {
			continue
		}
		defer client.Close()
		if client.Read(ctx, "Status.Leader", &structs.DCSpecificRequest{}, &addr, 0) == nil && addr != "" {
			return addr
		}
	}
	return ""
}

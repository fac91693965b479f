package workload

import (
	"context"
	"fmt"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil/cluster"
)

// OnCluster are the servers of a cluster in virtual time. Their clients are on
// the machine 10.0.1.<place of the server>, so that faults may be put between
// clients and servers.
func OnCluster(c *cluster.Cluster) []Server {
	var servers []Server
	for i, n := range c.Nodes {
		servers = append(servers, Server{
			Name: n.Config.NodeName,
			Connect: func() (*client.Client, error) {
				return client.NewWithConfig(client.Config{
					Servers: []string{fmt.Sprintf("%s:%d", n.IP, n.Config.RPCPort)},
					Dial:    c.Net.Host(fmt.Sprintf("10.0.1.%d", i+1)).Dial,
				})
			},
			Life: func() uint64 {
				if life := n.Life(); life != nil {
					return life.Number
				}
				return 0
			},
			Follow: func(ctx context.Context, q *structs.FeedRequest, take func([]structs.FeedEvent) error) error {
				life := n.Life()
				if life == nil {
					return structs.Errorf(structs.Unreachable, "%s is down", n.Config.NodeName)
				}
				feed, err := life.OpenFeed(ctx, q)
				if err != nil {
					return err
				}
				return feed.Run(ctx, take)
			},
		})
	}
	return servers
}

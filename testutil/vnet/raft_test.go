package vnet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"praetor/testutil"
	"praetor/testutil/vnet"
)

// streams is a host as raft sees it.
type streams struct {
	net.Listener
	host *vnet.Host
}

func (s streams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.host.Dial(ctx, string(to))
}

func (w world) raftTransport(ip string) *raft.NetworkTransport {
	transport := raft.NewNetworkTransportWithLogger(streams{w.listen(ip), w.Host(ip)}, 3, 10*time.Second,
		testutil.Logger(w.t, ip))
	w.t.Cleanup(func() {
		transport.Close()
		transport.CloseStreams() // Close leaves the pooled ones open
	})
	return transport
}

func TestRaftTransport(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		w.SetLink(ip1, ip2, vnet.Link{Delay: 3 * time.Millisecond})
		a, b := w.raftTransport(ip1), w.raftTransport(ip2)
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case rpc := <-b.Consumer():
					term := rpc.Command.(*raft.AppendEntriesRequest).Term
					rpc.Respond(&raft.AppendEntriesResponse{Term: term, Success: true}, nil)
				case <-stop:
					return
				}
			}
		}()
		send := func(term uint64) error {
			var reply raft.AppendEntriesResponse
			err := a.AppendEntries("b", raft.ServerAddress(addr(ip2)), &raft.AppendEntriesRequest{Term: term}, &reply)
			if err == nil && reply.Term != term {
				return fmt.Errorf("reply of term %d, want %d", reply.Term, term)
			}
			return err
		}
		start := time.Now()
		mustBe(t, send(7), nil)
		mustTake(t, time.Since(start), 6*time.Millisecond) // dial and request
		w.Partition([]string{ip1})
		start = time.Now()
		if err := send(8); err == nil {
			t.Error("append got an answer across a partition")
		}
		mustTake(t, time.Since(start), 10*time.Second)
		w.Heal()
		mustBe(t, send(9), nil)
	})
}

// nothing is a state machine without state.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nil, fmt.Errorf("nothing to save") }
func (nothing) Restore(snapshot io.ReadCloser) error { return snapshot.Close() }

func TestRaftFailover(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, w world) {
		var voters raft.Configuration
		for _, ip := range []string{ip1, ip2, ip3} {
			voters.Servers = append(voters.Servers, raft.Server{ID: raft.ServerID(ip), Address: raft.ServerAddress(addr(ip))})
		}
		nodes := map[string]*raft.Raft{}
		for _, s := range voters.Servers {
			config := raft.DefaultConfig()
			config.LocalID = s.ID
			config.Logger = testutil.Logger(t, string(s.ID))
			store := raft.NewInmemStore()
			transport := w.raftTransport(string(s.ID))
			if err := raft.BootstrapCluster(config, store, store, raft.NewInmemSnapshotStore(), transport, voters); err != nil {
				t.Fatal(err)
			}
			node, err := raft.NewRaft(config, nothing{}, store, store, raft.NewInmemSnapshotStore(), transport)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { node.Shutdown().Error() })
			nodes[string(s.ID)] = node
		}
		lead := func() (ip string) {
			testutil.Eventually(t, 30*time.Second, "a leader that commits", func() error {
				for ip = range nodes {
					if nodes[ip].State() == raft.Leader {
						return nodes[ip].Apply([]byte("x"), time.Second).Error()
					}
				}
				return fmt.Errorf("no leader")
			})
			return ip
		}
		first := lead()
		w.Partition([]string{first})
		cut := nodes[first]
		delete(nodes, first)
		second := lead()
		w.Heal()
		nodes[first] = cut
		if first == second {
			t.Errorf("%s leads without the others", first)
		}
		dead := lead()
		w.Host(dead).Crash()
		delete(nodes, dead)
		lead()
	})
}

package rpcserver

import (
	"context"

	"praetor/state"
	"praetor/structs"
)

// methods is the table of contents of the RPC port. Every KV method answers to
// KVS as well, which is Consul's name for it.
var methods = []method{
	write[bool]("KV.Apply", kvApply),
	read("KV.Get", kvGet),
	read("KV.List", kvList),
	read("KV.ListKeys", kvListKeys),

	write[struct{}]("Catalog.Register", catalogRegister),
	write[struct{}]("Catalog.Deregister", catalogDeregister),
	local("Catalog.ListDatacenters", catalogDatacenters),
	read("Catalog.ListNodes", catalogListNodes),
	read("Catalog.ListServices", catalogListServices),
	read("Catalog.ServiceList", catalogServiceList),
	read("Catalog.ServiceNodes", catalogServiceNodes),
	read("Catalog.NodeServices", catalogNodeServices),
	read("Catalog.NodeServiceList", catalogNodeServiceList),
	read("Health.ChecksInState", healthChecksInState),
	read("Health.NodeChecks", healthNodeChecks),
	read("Health.ServiceChecks", healthServiceChecks),
	read("Health.ServiceNodes", healthServiceNodes),
	read("Internal.NodeInfo", internalNodeInfo),
	read("Internal.NodeDump", internalNodeDump),
	read("Internal.ServiceDump", internalServiceDump),
	readAt("Operator.Usage", operatorUsage),

	local("Status.Ping", statusPing),
	local("Status.Leader", statusLeader),
	local("Status.Peers", statusPeers),
	local("Status.RaftStats", statusRaftStats),

	local("Internal.KeyringOperation", keyringOperation),
	read("Operator.AutopilotGetConfiguration", autopilotGet),
	write[bool]("Operator.AutopilotSetConfiguration", autopilotSet),
	leader("Operator.AutopilotState", autopilotState),
	leader("Operator.ServerHealth", serverHealth),
	leader("Operator.RaftGetConfiguration", raftConfiguration),
	leader("Operator.RaftAddPeer", raftAddPeer),
	leader("Operator.RaftRemovePeerByID", raftRemovePeer),
	leader("Operator.RaftRemovePeerByAddress", raftRemovePeer),
	leader("Operator.RaftPromotePeer", raftPromotePeer),
	leader("Operator.RaftDemotePeer", raftDemotePeer),
	leader("Operator.TransferLeader", transferLeader),
}

// A request of any kind names the datacenter it is for.
type request interface{ RequestDatacenter() string }

// local makes a method that every server answers for itself.
func local[Q, R any](name string, run func(*Server, *Q, *R) error) method {
	return newMethod(name, func(_ context.Context, s *Server, q *Q, reply *R) error {
		return run(s, q, reply)
	})
}

// leader makes a method that the leader answers, without the log or the state.
func leader[Q, R any, PQ interface {
	*Q
	request
}](name string, run func(*Server, *Q, *R) error) method {
	return newMethod(name, func(ctx context.Context, s *Server, q *Q, reply *R) error {
		return s.route(ctx, call{method: name, request: PQ(q), reply: reply, here: func(context.Context) error {
			return run(s, q, reply)
		}})
	})
}

// write makes a method whose request is a command. The leader runs prepare,
// which checks the command and decides everything that must be decided once,
// then logs it; the reply, R, is the command's result.
func write[R, C any, PC interface {
	*C
	structs.Command
	request
}](name string, prepare func(*Server, PC) error) method {
	return newMethod(name, func(ctx context.Context, s *Server, c *C, reply *R) error {
		return s.route(ctx, call{method: name, request: PC(c), reply: reply, here: func(context.Context) error {
			if err := prepare(s, c); err != nil {
				return err
			}
			result, err := s.apply(PC(c))
			if err != nil {
				return err
			}
			if r, ok := result.(R); ok {
				*reply = r
			}
			return nil
		}})
	})
}

// read makes a method that runs on a view of the state and may wait.
func read[Q, R any, PQ interface {
	*Q
	request
	Options() *structs.QueryOptions
}, PR interface {
	*R
	Meta() *structs.QueryMeta
}](name string, run func(*state.Reader, *Q, *R) error) method {
	return readAt[Q, R, PQ, PR](name, func(_ *Server, r *state.Reader, q *Q, reply *R) error { return run(r, q, reply) })
}

// readAt is read for what needs to know the server as well.
func readAt[Q, R any, PQ interface {
	*Q
	request
	Options() *structs.QueryOptions
}, PR interface {
	*R
	Meta() *structs.QueryMeta
}](name string, run func(*Server, *state.Reader, *Q, *R) error) method {
	return newMethod(name, func(ctx context.Context, s *Server, q *Q, reply *R) error {
		options := PQ(q).Options()
		return s.route(ctx, call{method: name, request: PQ(q), reply: reply, read: options, here: func(ctx context.Context) error {
			return s.blocking(ctx, options, PR(reply).Meta(), func(r *state.Reader) error {
				*reply = *new(R)
				return run(s, r, q, reply)
			})
		}})
	})
}

func newMethod[Q, R any](name string, serve func(context.Context, *Server, *Q, *R) error) method {
	return method{
		name:     name,
		newArgs:  func() any { return new(Q) },
		newReply: func() any { return new(R) },
		serve: func(ctx context.Context, s *Server, args, reply any) error {
			s.inFlight.Add(1)
			defer s.inFlight.Add(-1)
			return serve(ctx, s, args.(*Q), reply.(*R))
		},
	}
}

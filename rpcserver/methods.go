package rpcserver

import (
	"context"
	"errors"

	"praetor/state"
	"praetor/structs"
)

// methods is the table of contents of the RPC port. Every KV method answers to
// KVS as well, which is Consul's name for it.
var methods = []method{
	writeThen[bool]("KV.Apply", kvApply, kvApplied),
	read("KV.Get", kvGet),
	read("KV.List", kvList),
	read("KV.ListKeys", kvListKeys),

	write[structs.TxnResponse]("Txn.Apply", txnApply),
	newMethod("Txn.Read", txnRead),

	leader("Coordinate.Update", coordinateUpdate),
	local("Coordinate.ListDatacenters", coordinateListDatacenters),
	read("Coordinate.ListNodes", coordinateListNodes),
	read("Coordinate.Node", coordinateNode),

	write[string]("PreparedQuery.Apply", preparedQueryApply),
	read("PreparedQuery.Get", preparedQueryGet),
	read("PreparedQuery.List", preparedQueryList),
	once("PreparedQuery.Explain", preparedQueryExplain),
	once("PreparedQuery.Execute", preparedQueryExecute),
	once("PreparedQuery.ExecuteRemote", preparedQueryExecuteRemote),

	once("Internal.EventFire", eventFire),
	writeThen[string]("Session.Apply", sessionApply, sessionApplied),
	readAt("Session.Get", sessionGet),
	readAt("Session.List", sessionList),
	readAt("Session.NodeSessions", sessionNodeSessions),
	leaderRead("Session.Renew", sessionRenew),

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

	leaderRead("Operator.BackupStatus", backupStatus),
	leader("Operator.BackupRun", backupRun),

	newMethod("Praetor.Frontier", frontier),
	leader("Praetor.Resync", resyncPeer),
	newMethod("Praetor.StateHash", stateHash),
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
	return writeThen[R](name, prepare, func(_ *Server, _ PC, err error) error { return err })
}

// answer is what prepare returns if there is nothing to log: the reply, of type
// R, or nil for its zero value.
type answer struct{ reply any }

// Error is for nobody: an answer is not an error.
func (*answer) Error() string { return "answered without the log" }

var errAnswered error = &answer{}

// writeThen is write for methods that have something to do, or to say about the
// command's error, after it was applied here.
func writeThen[R, C any, PC interface {
	*C
	structs.Command
	request
}](name string, prepare func(*Server, PC) error, then func(*Server, PC, error) error) method {
	return newMethod(name, func(ctx context.Context, s *Server, c *C, reply *R) error {
		return s.route(ctx, call{method: name, request: PC(c), reply: reply, here: func(context.Context) error {
			if err := s.room(); err != nil {
				return err
			}
			if err := prepare(s, c); err != nil {
				if a := (*answer)(nil); errors.As(err, &a) {
					*reply, _ = a.reply.(R)
					return nil
				}
				return err
			}
			result, err := s.apply(PC(c))
			if err := then(s, c, err); err != nil {
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

// leaderRead makes a method that the leader alone answers, and which may be
// asked again: it changes nothing in the state.
func leaderRead[Q, R any, PQ interface {
	*Q
	request
	Options() *structs.QueryOptions
}](name string, run func(context.Context, *Server, *Q, *R) error) method {
	return newMethod(name, func(ctx context.Context, s *Server, q *Q, reply *R) error {
		options := PQ(q).Options()
		options.AllowStale, options.MinQueryIndex = false, 0
		return s.route(ctx, call{method: name, request: PQ(q), reply: reply, read: options, here: func(ctx context.Context) error {
			return run(ctx, s, q, reply)
		}})
	})
}

func newMethod[Q, R any](name string, serve func(context.Context, *Server, *Q, *R) error) method {
	return method{
		name:     name,
		newArgs:  func() any { return new(Q) },
		newReply: func() any { return new(R) },
		serve: func(ctx context.Context, s *Server, args, reply any) error {
			if err := s.quarantineError(); err != nil && !openInQuarantine[name] {
				return err
			}
			s.inFlight.Add(1)
			defer s.inFlight.Add(-1)
			return serve(ctx, s, args.(*Q), reply.(*R))
		},
	}
}

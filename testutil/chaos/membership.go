package chaos

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"praetor/rpcserver"
	"praetor/structs"
)

const (
	patience = 20 * time.Second // of an operator, for one operation
	most     = 2                // servers that are added, at most
)

// operate asks something of a server in the background.
func (n *nemesis) operate(m *machine, what string, do func(ctx context.Context, s *rpcserver.Server) error) {
	server := m.Server
	n.note("%s is asked to %s", m.name(), what)
	n.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := do(ctx, server)
		n.note("%s was asked to %s: %v", m.name(), what, err)
		if structs.IsCode(err, structs.UnknownMethod) {
			n.t.Errorf("%s cannot be asked to %s: %v", m.name(), what, err)
		}
	})
}

func peerCall(ctx context.Context, s *rpcserver.Server, method, id string, reply any) error {
	return s.Call(ctx, "Operator."+method, &structs.RaftPeerRequest{ID: id}, reply)
}

// transfer hands leadership to a server, or to whom the leader likes.
func transfer(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		id := m.Config.NodeID
		if m == n.leader() || m.replica {
			id = ""
		}
		n.operate(m, "transfer leadership", func(ctx context.Context, s *rpcserver.Server) error {
			return peerCall(ctx, s, "TransferLeader", id, new(structs.LeadershipTransfer))
		})
	}
}

// expel takes a server out of raft although it lives. The leader sees it in
// gossip and lets it in again.
func expel(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.operate(m, "expel itself", func(ctx context.Context, s *rpcserver.Server) error {
			return peerCall(ctx, s, "RaftRemovePeerByID", m.Config.NodeID, new(struct{}))
		})
		m.expelled = true
	}
}

// demote takes a server's vote away for a while.
func demote(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		if m.replica {
			return
		}
		n.operate(m, "demote itself", func(ctx context.Context, s *rpcserver.Server) error {
			return peerCall(ctx, s, "RaftDemotePeer", m.Config.NodeID, new(struct{}))
		})
		m.demoted = true // or perhaps not: it is promoted in the end
	}
}

// promote gives a server its vote back, for certain.
func (n *nemesis) promote(m *machine) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return peerCall(ctx, m.Server, "RaftPromotePeer", m.Config.NodeID, new(struct{}))
}

// add brings a new server, at times a read replica.
func add(n *nemesis, f Fault) {
	if len(n.machines) >= n.plan.Servers+n.plan.Replicas+most {
		return
	}
	replica := f.rand().IntN(4) == 0
	m := n.machine(func(_ int, c *rpcserver.Config) { c.ReadReplica = replica })
	n.note("%s is new, read replica: %v", m.name(), replica)
	n.start(m)
}

// leave has a server leave in order. It comes back, unless there are servers to
// spare.
func leave(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.note("%s leaves", m.name())
		m.state = leaving
		m.forGood = !m.replica && n.spare() > 0
		server, d := m.Server, death{m: m, life: m.life, of: "leaving"}
		m.left = true
		n.background.Go(func() {
			server.Leave()
			n.left <- d
		})
	}
}

// spare is how many voters there are beyond those that the cluster began with.
func (n *nemesis) spare() int {
	spare := -n.plan.Servers
	for _, m := range n.machines {
		if !m.replica && m.state != gone && !m.forGood {
			spare++
		}
	}
	return spare
}

// goodbye ends a server that has left, or stopped.
func (n *nemesis) goodbye(d death) {
	m := d.m
	if m.life != d.life || m.state != leaving {
		return // it crashed meanwhile
	}
	n.note("%s is through with %s", m.name(), d.of)
	if m.forGood && !n.canDoWithout(m) {
		n.note("%s will be back: without its vote there is no majority any more", m.name())
		m.forGood = false
	}
	n.crash(m)
	if m.forGood {
		m.state = gone
		return
	}
	n.after(time.Second, func() { n.revive(m) })
}

// canDoWithout reports whether the voters that stay are a majority, in each raft
// configuration that any server knows: which of them will count is not known
// while no leader has them agree. If nobody heard the server say goodbye, it is
// still one of them, and to keep it away would be the loss of a quorum, which no
// cluster gets over. An operator's order to take away a vote may be on its way.
func (n *nemesis) canDoWithout(m *machine) bool {
	stays := map[raft.ServerID]bool{}
	for _, other := range n.machines {
		stays[raft.ServerID(other.Config.NodeID)] = other != m && other.state != gone && !other.forGood && !other.demoted && !other.expelled
	}
	for _, knows := range n.machines {
		if knows.state == gone {
			continue
		}
		if knows.Server == nil {
			return false // it is down, and nobody can say
		}
		future := knows.Raft().GetConfiguration()
		if future.Error() != nil {
			return false
		}
		voters, stay := 0, 0
		for _, server := range future.Configuration().Servers {
			if server.Suffrage == raft.Voter {
				voters++
				if stays[server.ID] {
					stay++
				}
			}
		}
		if voters > 0 && stay <= voters/2 {
			return false
		}
	}
	return true
}

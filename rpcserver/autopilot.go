package rpcserver

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
	"github.com/hashicorp/serf/serf"

	"praetor/state"
	"praetor/structs"
)

// nodeReplica is the autopilot type of a server that never votes.
const nodeReplica autopilot.NodeType = "read-replica"

func raftID(id string) raft.ServerID { return raft.ServerID(id) }

// newAutopilot returns the library's caretaker of the set of voters: it gives
// new servers a vote once they are stable and takes dead ones out.
func (s *Server) newAutopilot() *autopilot.Autopilot {
	return autopilot.New(autopilotRaft{s.raft, s}, autopilotDelegate{s},
		autopilot.WithLogger(s.config.Logger.Named("autopilot")),
		autopilot.WithReconcileInterval(time.Second), // looks at memory only; a new voter need not wait for longer
		autopilot.WithUpdateInterval(time.Second),
		autopilot.WithPromoter(&promoter{s: s}))
}

// autopilotRaft is raft as autopilot sees it.
type autopilotRaft struct {
	autopilot.Raft
	s *Server
}

// RemoveServer takes a server out, and looks after one that has come back
// meanwhile: until the entry is stored, which may take its time, it counts as a
// member, so that nobody has added it.
func (r autopilotRaft) RemoveServer(id raft.ServerID, prevIndex uint64, timeout time.Duration) raft.IndexFuture {
	return removal{r.Raft.RemoveServer(id, prevIndex, timeout), r.s, id}
}

type removal struct {
	raft.IndexFuture
	s  *Server
	id raft.ServerID
}

// Error waits until the server is taken out, and returns why it is not.
func (r removal) Error() error {
	err := r.IndexFuture.Error()
	for _, m := range r.s.serf.Members() {
		if m.Status == serf.StatusAlive && raftID(m.Tags["id"]) == r.id {
			r.s.reconcileSoon(m)
		}
	}
	return err
}

// autopilotDelegate tells autopilot what we know.
type autopilotDelegate struct{ s *Server }

// AutopilotConfig returns the configuration in the state.
func (d autopilotDelegate) AutopilotConfig() *autopilot.Config {
	c := d.s.fsm.Store().Read().Autopilot()
	if c == nil {
		return nil
	}
	return &autopilot.Config{
		CleanupDeadServers:      c.CleanupDeadServers,
		LastContactThreshold:    c.LastContactThreshold,
		MaxTrailingLogs:         c.MaxTrailingLogs,
		MinQuorum:               c.MinQuorum,
		ServerStabilizationTime: c.ServerStabilizationTime,
	}
}

// KnownServers returns the servers that gossip knows.
func (d autopilotDelegate) KnownServers() map[raft.ServerID]*autopilot.Server {
	known := map[raft.ServerID]*autopilot.Server{}
	for _, m := range d.s.serf.Members() {
		server, ok := parseServer(m, d.s.config.Datacenter)
		if !ok {
			continue
		}
		// A server that was renamed is there twice: the living one counts.
		if twin := known[raftID(server.id)]; twin != nil && twin.NodeStatus == autopilot.NodeAlive {
			continue
		}
		known[raftID(server.id)] = d.s.autopilotServer(server)
	}
	return known
}

func (s *Server) autopilotServer(m member) *autopilot.Server {
	status := autopilot.NodeUnknown
	switch m.status {
	case serf.StatusAlive, serf.StatusLeaving: // until it has left: it may be back already
		status = autopilot.NodeAlive
	case serf.StatusFailed:
		status = autopilot.NodeFailed
	case serf.StatusLeft:
		status = autopilot.NodeLeft
	}
	kind := autopilot.NodeVoter
	if m.readReplica {
		kind = nodeReplica
	}
	build, _, _ := strings.Cut(m.build, ":")
	_, leader := s.raft.LeaderWithID()
	return &autopilot.Server{
		ID: raftID(m.id), Name: m.name, Address: raft.ServerAddress(m.addr), NodeStatus: status,
		Version: build, Meta: m.tags, RaftVersion: 3, IsLeader: leader == raftID(m.id), NodeType: kind,
	}
}

// FetchServerStats asks all servers at once how far they are.
func (d autopilotDelegate) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var mu sync.Mutex
	var asks sync.WaitGroup
	stats := make(map[raft.ServerID]*autopilot.ServerStats, len(servers))
	for id, server := range servers {
		asks.Go(func() {
			reply, err := d.s.askStats(ctx, server)
			if err != nil {
				d.s.logger.Debug("cannot ask a server how far it is", "server", server.Name, "error", err)
				return
			}
			contact := time.Duration(-1) // never, or junk
			if parsed, err := time.ParseDuration(reply.LastContact); err == nil {
				contact = parsed
			}
			mu.Lock()
			defer mu.Unlock()
			stats[id] = &autopilot.ServerStats{LastContact: contact, LastTerm: reply.LastTerm, LastIndex: reply.LastIndex}
		})
	}
	asks.Wait()
	return stats
}

func (s *Server) askStats(ctx context.Context, server *autopilot.Server) (reply structs.RaftStats, err error) {
	if string(server.ID) == s.config.NodeID {
		return reply, statusRaftStats(s, &struct{}{}, &reply)
	}
	conn, err := s.pool.Get(ctx, string(server.Address))
	if err == nil {
		err = conn.Call(ctx, "Status.RaftStats", &struct{}{}, &reply)
	}
	return reply, err
}

// NotifyState is autopilot's report of each new view of the servers.
func (d autopilotDelegate) NotifyState(*autopilot.State) {}

// RemoveFailedServer has gossip forget a server, which takes it out of raft.
func (d autopilotDelegate) RemoveFailedServer(server *autopilot.Server) {
	d.s.tasks.Go(func() {
		if err := d.s.serf.RemoveFailedNode(server.Name); err != nil {
			d.s.logger.Error("cannot remove a failed server", "server", server.Name, "error", err)
		}
	})
}

// promoter decides who votes: every stable server but read replicas and those
// that an operator took the vote from.
type promoter struct {
	autopilot.StablePromoter
	s *Server
}

// GetNodeTypes says which servers could vote at all.
func (p *promoter) GetNodeTypes(_ *autopilot.Config, state *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	kinds := make(map[raft.ServerID]autopilot.NodeType, len(state.Servers))
	for id, server := range state.Servers {
		kinds[id] = autopilot.NodeVoter
		if _, replica := server.Server.Meta["read_replica"]; replica {
			kinds[id] = nodeReplica
		}
	}
	return kinds
}

// FilterFailedServerRemovals lets a dead voter be taken out only where that
// leaves an odd number of voters: when one that replaces it has come. Before
// that nothing would be gained, and a server that is back after a short absence
// would find itself without a place.
func (p *promoter) FilterFailedServerRemovals(_ *autopilot.Config, _ *autopilot.State, failed *autopilot.FailedServers) *autopilot.FailedServers {
	spare := 1 - p.s.voters()%2
	filtered := *failed
	filtered.StaleVoters = failed.StaleVoters[:min(spare, len(failed.StaleVoters))]
	spare -= len(filtered.StaleVoters)
	filtered.FailedVoters = failed.FailedVoters[:min(spare, len(failed.FailedVoters))]
	return &filtered
}

// CalculatePromotionsAndDemotions says whose vote is to change.
func (p *promoter) CalculatePromotionsAndDemotions(config *autopilot.Config, state *autopilot.State) autopilot.RaftChanges {
	changes := p.StablePromoter.CalculatePromotionsAndDemotions(config, state)
	demoted := p.s.demoted()
	never := func(id raft.ServerID) bool {
		server := state.Servers[id]
		return server != nil && server.Server.NodeType == nodeReplica || slices.Contains(demoted, string(id))
	}
	changes.Promotions = slices.DeleteFunc(changes.Promotions, never)
	for id, server := range state.Servers {
		if server.State == autopilot.RaftVoter && never(id) {
			changes.Demotions = append(changes.Demotions, id)
		}
	}
	slices.Sort(changes.Promotions)
	slices.Sort(changes.Demotions)
	if never(state.Leader) { // a leader cannot be demoted: somebody else must lead first
		voters := slices.DeleteFunc(slices.Sorted(slices.Values(state.Voters)), func(id raft.ServerID) bool {
			return never(id) || !state.Servers[id].Health.Healthy
		})
		if len(voters) > 0 {
			changes.Leader = voters[0]
		}
	}
	return changes
}

// demotedKey is the system metadata entry that lists, as a JSON array of ids,
// the servers that an operator took the vote from.
const demotedKey = "praetor-demoted-servers"

func (s *Server) demoted() (ids []string) {
	if text := s.fsm.Store().Read().MetadataValue(demotedKey); text != "" {
		if err := json.Unmarshal([]byte(text), &ids); err != nil {
			s.logger.Error("the list of servers without a vote cannot be read", "entry", demotedKey, "error", err)
		}
	}
	return ids
}

// setDemoted remembers that a server is not to be given a vote, or may be again.
func (s *Server) setDemoted(id string, demote bool) error {
	ids := s.demoted()
	if slices.Contains(ids, id) == demote {
		return nil
	}
	if demote {
		ids = append(ids, id)
	} else {
		ids = slices.DeleteFunc(ids, func(other string) bool { return other == id })
	}
	text, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	_, err = s.apply(&structs.MetadataRequest{
		Datacenter: s.config.Datacenter, Op: structs.MetadataUpsert,
		Entry: &structs.MetadataEntry{Key: demotedKey, Value: string(text)},
	})
	return err
}

func autopilotGet(r *state.Reader, _ *structs.DCSpecificRequest, reply *structs.IndexedAutopilotConfig) error {
	config := r.Autopilot()
	if config == nil {
		return structs.Errorf(structs.NotReady, "autopilot config not initialized yet")
	}
	reply.AutopilotConfig = *config
	return nil
}

func autopilotSet(_ *Server, c *structs.AutopilotRequest) error {
	if c.Config.LastContactThreshold < 0 || c.Config.ServerStabilizationTime < 0 {
		return structs.Errorf(structs.Invalid, "autopilot durations must not be negative")
	}
	return nil
}

package agent

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/serf/serf"

	"praetor/structs"
)

// serverHealthJSON is the health of a server as Consul's JSON shows it.
type serverHealthJSON struct {
	ID          string
	Name        string
	Address     string
	SerfStatus  string
	Version     string
	Leader      bool
	LastContact structs.Duration
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	Voter       bool
	StableSince time.Time
}

// autopilotHealth answers 429, with the same body, when not all is well.
func autopilotHealth(c *exchange) error {
	q := structs.DCSpecificRequest{Datacenter: c.query.datacenter()}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply structs.OperatorHealthReply
	if err := c.call("Operator.ServerHealth", &q, &reply); err != nil {
		return err
	}
	out := struct {
		Healthy          bool
		FailureTolerance int
		Servers          []serverHealthJSON
	}{reply.Healthy, reply.FailureTolerance, []serverHealthJSON{}}
	for _, s := range reply.Servers {
		out.Servers = append(out.Servers, serverHealthJSON{
			s.ID, s.Name, s.Address, serf.MemberStatus(s.SerfStatus).String(), s.Version, s.Leader, structs.Duration(s.LastContact),
			s.LastTerm, s.LastIndex, s.Healthy, s.Voter, s.StableSince.UTC().Truncate(time.Second),
		})
	}
	if !reply.Healthy {
		return c.replyAs(http.StatusTooManyRequests, out)
	}
	return c.reply(out)
}

// autopilotServerJSON is a server in the state of autopilot as Consul's JSON
// shows it.
type autopilotServerJSON struct {
	ID          string
	Name        string
	Address     string
	NodeStatus  string
	Version     string
	LastContact structs.Duration
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	StableSince time.Time
	ReadReplica bool
	Status      string
	Meta        map[string]string
	NodeType    string
}

func autopilotState(c *exchange) error {
	q := structs.DCSpecificRequest{Datacenter: c.query.datacenter()}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply structs.AutopilotState
	if err := c.call("Operator.AutopilotState", &q, &reply); err != nil {
		return err
	}
	out := struct {
		Healthy                    bool
		FailureTolerance           int
		OptimisticFailureTolerance int // differs in Consul Enterprise only
		Servers                    map[string]autopilotServerJSON
		Leader                     string
		Voters                     []string
		ReadReplicas               []string `json:",omitempty"`
	}{reply.Healthy, reply.FailureTolerance, reply.FailureTolerance, map[string]autopilotServerJSON{}, reply.Leader, reply.Voters, nil}
	for _, id := range slices.Sorted(maps.Keys(reply.Servers)) {
		s := reply.Servers[id]
		replica := s.Server.NodeType == "read-replica"
		if replica {
			out.ReadReplicas = append(out.ReadReplicas, id)
		}
		out.Servers[id] = autopilotServerJSON{
			id, s.Server.Name, s.Server.Address, s.Server.NodeStatus, s.Server.Version, structs.Duration(s.Stats.LastContact),
			s.Stats.LastTerm, s.Stats.LastIndex, s.Health.Healthy, s.Health.StableSince.UTC().Truncate(time.Second), replica, s.State,
			s.Server.Meta, s.Server.NodeType,
		}
	}
	return c.reply(out)
}

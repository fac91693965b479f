package agent

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
)

func raftConfiguration(c *exchange) error {
	q := structs.DCSpecificRequest{Datacenter: c.query.datacenter()}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply structs.RaftConfiguration
	if err := c.call("Operator.RaftGetConfiguration", &q, &reply); err != nil {
		return err
	}
	return c.reply(&reply)
}

// peer reads which server a request is about: ?id or ?address.
func (c *exchange) peer() *structs.RaftPeerRequest {
	return &structs.RaftPeerRequest{Datacenter: c.query.datacenter(), ID: c.query.get("id"), Address: c.query.get("address")}
}

// onePeer is peer where it must be one of the two.
func (c *exchange) onePeer(verb string) (*structs.RaftPeerRequest, error) {
	switch q := c.peer(); {
	case q.ID == "" && q.Address == "":
		return nil, badRequest("Must specify either ?id with the server's ID or ?address with IP:port of peer to %s", verb)
	case q.ID != "" && q.Address != "":
		return nil, badRequest("Must specify only one of ?id or ?address")
	default:
		return q, nil
	}
}

// change runs a method that answers with nothing.
func (c *exchange) change(method string, q *structs.RaftPeerRequest) error {
	if err := c.call(method, q, &struct{}{}); err != nil {
		return err
	}
	return c.done()
}

func raftRemovePeer(c *exchange) error {
	q, err := c.onePeer("remove")
	if err != nil {
		return err
	}
	return c.change("Operator.RaftRemovePeerByID", q)
}

// raftAddPeer is ours: it takes ?id, ?address and ?non_voter.
func raftAddPeer(c *exchange) error {
	q := c.peer()
	q.NonVoter = c.query.has("non_voter") && c.query.get("non_voter") != "false"
	if q.ID == "" || q.Address == "" {
		return badRequest("Must specify both ?id with the server's ID and ?address with IP:port of peer to add")
	}
	return c.change("Operator.RaftAddPeer", q)
}

// raftPromote is ours: it gives a server a vote.
func raftPromote(c *exchange) error {
	q, err := c.onePeer("promote")
	if err != nil {
		return err
	}
	return c.change("Operator.RaftPromotePeer", q)
}

// raftDemote is ours: it takes a server's vote until it is promoted again.
func raftDemote(c *exchange) error {
	q, err := c.onePeer("demote")
	if err != nil {
		return err
	}
	return c.change("Operator.RaftDemotePeer", q)
}

func raftTransferLeader(c *exchange) error {
	var reply structs.LeadershipTransfer
	if err := c.call("Operator.TransferLeader", c.peer(), &reply); err != nil {
		return err
	}
	return c.reply(&reply)
}

// autopilotJSON is the autopilot configuration with durations as text.
type autopilotJSON struct {
	CleanupDeadServers      bool
	LastContactThreshold    duration
	MaxTrailingLogs         uint64
	MinQuorum               uint
	ServerStabilizationTime duration
	RedundancyZoneTag       string
	DisableUpgradeMigration bool
	UpgradeVersionTag       string
	CreateIndex             uint64
	ModifyIndex             uint64
}

func newAutopilotJSON(c *structs.AutopilotConfig) autopilotJSON {
	return autopilotJSON{
		c.CleanupDeadServers, duration(c.LastContactThreshold), c.MaxTrailingLogs, c.MinQuorum, duration(c.ServerStabilizationTime),
		c.RedundancyZoneTag, c.DisableUpgradeMigration, c.UpgradeVersionTag, c.CreateIndex, c.ModifyIndex,
	}
}

func (a *autopilotJSON) config() structs.AutopilotConfig {
	return structs.AutopilotConfig{
		CleanupDeadServers: a.CleanupDeadServers, LastContactThreshold: time.Duration(a.LastContactThreshold),
		MaxTrailingLogs: a.MaxTrailingLogs, MinQuorum: a.MinQuorum, ServerStabilizationTime: time.Duration(a.ServerStabilizationTime),
		RedundancyZoneTag: a.RedundancyZoneTag, DisableUpgradeMigration: a.DisableUpgradeMigration, UpgradeVersionTag: a.UpgradeVersionTag,
	}
}

// duration is text such as "10s" in JSON. It is read from a number of
// nanoseconds as well, and from null, which is 0.
type duration time.Duration

// MarshalJSON writes the text.
func (d duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads all three.
func (d *duration) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] != '"' {
		var number int64
		err := json.Unmarshal(text, &number)
		*d = duration(number)
		return err
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(s)
	*d = duration(parsed)
	return err
}

func autopilotGet(c *exchange) error {
	q := structs.DCSpecificRequest{Datacenter: c.query.datacenter()}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply structs.IndexedAutopilotConfig
	if err := c.read("Operator.AutopilotGetConfiguration", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	return c.reply(newAutopilotJSON(&reply.AutopilotConfig))
}

// maxAutopilot is far more than a configuration needs.
var maxAutopilot = limit{64 << 10, "the autopilot configuration"}

func autopilotSet(c *exchange) error {
	text, err := c.body(maxAutopilot)
	if err != nil {
		return err
	}
	defaults := rpcserver.DefaultConfig().Autopilot
	given := newAutopilotJSON(&defaults)
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&given); err != nil {
		return badRequest("Error parsing autopilot config: %v", err)
	}
	q := structs.AutopilotRequest{Datacenter: c.query.datacenter(), Config: given.config()}
	if c.query.has("cas") {
		q.CAS = true
		if q.Config.ModifyIndex, err = strconv.ParseUint(c.query.get("cas"), 10, 64); err != nil {
			return badRequest("Error parsing cas value: %v", err)
		}
	}
	var ok bool
	if err := c.call("Operator.AutopilotSetConfiguration", &q, &ok); err != nil {
		return err
	}
	return c.replyBool(ok)
}

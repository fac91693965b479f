package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"praetor/structs"
)

// sessionIn is a session as clients write it. Fields that it does not have are
// ignored, as Consul does here and nowhere else.
type sessionIn struct {
	Name, Node, Behavior, TTL, Expiry string

	LockDelay     lockDelay
	NodeChecks    *[]string
	ServiceChecks []structs.ServiceCheck
	Checks        *[]string // what NodeChecks were called once
}

// lockDelay is text, or a number: of seconds below 1000, of nanoseconds from
// there on.
type lockDelay time.Duration

// UnmarshalJSON reads text, a number or null.
func (d *lockDelay) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if err := (*structs.Duration)(d).UnmarshalJSON(text); err != nil {
		return err
	}
	if text[0] != '"' && *d < 1000 {
		*d *= lockDelay(time.Second)
	}
	return nil
}

// sessionOut is a session as clients read it.
type sessionOut struct {
	ID            string
	Name          string
	Node          string
	LockDelay     time.Duration // nanoseconds
	Behavior      structs.SessionBehavior
	TTL           string
	NodeChecks    []string
	ServiceChecks []structs.ServiceCheck
	Checks        []string              `json:",omitempty"`
	Expiry        structs.SessionExpiry `json:",omitempty"`
	ExpiresIn     string                `json:",omitempty"`
	structs.RaftIndex
}

func sessionsOut(sessions []*structs.Session) []sessionOut {
	out := make([]sessionOut, 0, len(sessions))
	for _, s := range sessions {
		row := sessionOut{
			s.ID, s.Name, s.Node, s.LockDelay, s.Behavior, s.TTL, s.NodeChecks, s.ServiceChecks, s.Checks, s.Expiry, "", s.RaftIndex,
		}
		if s.NodeChecks == nil {
			row.NodeChecks = []string{}
		}
		if s.ExpiresIn > 0 {
			row.ExpiresIn = s.ExpiresIn.Round(time.Millisecond).String()
		}
		out = append(out, row)
	}
	return out
}

// sessionBody bounds what is read of a request to create a session. The server
// has its own, lower limit on what a session may hold.
var sessionBody = limit{64 << 10, "the size of a session, which is no option"}

func sessionCreate(c *exchange) error {
	in := sessionIn{Node: c.config.NodeName, LockDelay: lockDelay(structs.DefaultLockDelay)}
	body, err := c.body(sessionBody)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return badRequest("Request decode failed: %v", err)
		}
	}
	request := structs.SessionRequest{
		Datacenter: c.query.datacenter(),
		Op:         structs.SessionCreate,
		Session: structs.Session{
			Name: in.Name, Node: in.Node, LockDelay: time.Duration(in.LockDelay), TTL: in.TTL,
			Behavior: structs.SessionBehavior(in.Behavior), Expiry: structs.SessionExpiry(in.Expiry),
			NodeChecks: in.nodeChecks(), ServiceChecks: in.ServiceChecks,
		},
	}
	var id string
	if err := c.call("Session.Apply", &request, &id); err != nil {
		return err
	}
	return c.reply(struct{ ID string }{id})
}

// nodeChecks are those of both fields; serfHealth if neither is there, and none
// if one of them is there and empty.
func (in *sessionIn) nodeChecks() []string {
	if in.NodeChecks == nil && in.Checks == nil {
		return []string{structs.SerfHealth}
	}
	checks := []string{}
	for _, given := range []*[]string{in.NodeChecks, in.Checks} {
		if given == nil {
			continue
		}
		if len(*given) == 0 {
			return []string{}
		}
		checks = append(checks, *given...)
	}
	return checks
}

func sessionDestroy(c *exchange) error {
	if c.rest == "" {
		return errNoSession
	}
	request := structs.SessionRequest{
		Datacenter: c.query.datacenter(), Op: structs.SessionDestroy, Session: structs.Session{ID: c.rest},
	}
	var none string
	if err := c.call("Session.Apply", &request, &none); err != nil {
		return err
	}
	return c.replyBool(true)
}

var errNoSession = badRequest("Missing session")

func sessionRenew(c *exchange) error {
	if c.rest == "" {
		return errNoSession
	}
	request := structs.SessionSpecificRequest{Datacenter: c.query.datacenter(), SessionID: c.rest}
	var reply structs.IndexedSessions
	if err := c.call("Session.Renew", &request, &reply); err != nil {
		return err
	}
	if len(reply.Sessions) == 0 {
		return &statusError{http.StatusNotFound, fmt.Sprintf("Session id '%s' not found", c.rest)}
	}
	return c.reply(sessionsOut(reply.Sessions))
}

func sessionInfo(c *exchange) error {
	if c.rest == "" {
		return errNoSession
	}
	return c.sessions("Session.Get", &structs.SessionSpecificRequest{Datacenter: c.query.datacenter(), SessionID: c.rest})
}

func sessionList(c *exchange) error {
	return c.sessions("Session.List", &structs.SessionSpecificRequest{Datacenter: c.query.datacenter()})
}

func sessionNode(c *exchange) error {
	if c.rest == "" {
		return badRequest("Missing node name")
	}
	return c.sessions("Session.NodeSessions", &structs.NodeSpecificRequest{Datacenter: c.query.datacenter(), Node: c.rest})
}

// sessions answers with the sessions that a method finds.
func (c *exchange) sessions(method string, request interface{ Options() *structs.QueryOptions }) error {
	q := request.Options()
	if err := c.readOptions(q); err != nil {
		return err
	}
	var reply structs.IndexedSessions
	if err := c.read(method, q, request, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setMeta(&reply.QueryMeta)
	return c.reply(sessionsOut(reply.Sessions))
}

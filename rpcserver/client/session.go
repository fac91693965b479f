package client

import (
	"context"

	"praetor/structs"
)

// Session makes, renews and reads sessions.
type Session struct{ c *Client }

// Session returns the calls about sessions.
func (c *Client) Session() Session { return Session{c} }

// Create makes a session and returns its id. The node must be in the catalog.
// Nothing is filled in: without NodeChecks the session depends on no check,
// without LockDelay there is none.
func (s Session) Create(ctx context.Context, session structs.Session) (id string, err error) {
	request := structs.SessionRequest{Datacenter: s.c.config.Datacenter, Op: structs.SessionCreate, Session: session}
	err = s.c.Write(ctx, "Session.Apply", &request, &id)
	return id, err
}

// Destroy ends a session, and with it its locks. That there is none is no error.
func (s Session) Destroy(ctx context.Context, id string) error {
	request := structs.SessionRequest{Datacenter: s.c.config.Datacenter, Op: structs.SessionDestroy, Session: structs.Session{ID: id}}
	return s.c.Write(ctx, "Session.Apply", &request, new(string))
}

// Renew gives a session its whole time again and returns it, with how long that
// is as the leader sees it. It returns nil if the session is no more: then its
// locks are not held any more.
func (s Session) Renew(ctx context.Context, id string) (*structs.Session, error) {
	var reply structs.IndexedSessions
	request := structs.SessionSpecificRequest{Datacenter: s.c.config.Datacenter, SessionID: id}
	if err := s.c.Read(ctx, "Session.Renew", &request, &reply, 0); err != nil || len(reply.Sessions) == 0 {
		return nil, err
	}
	return reply.Sessions[0], nil
}

// Info returns a session, nil if there is none, and the meta data of the reply.
func (s Session) Info(ctx context.Context, id string, q *structs.QueryOptions) (*structs.Session, structs.QueryMeta, error) {
	var reply structs.IndexedSessions
	request := structs.SessionSpecificRequest{Datacenter: s.c.config.Datacenter, SessionID: id, QueryOptions: options(q)}
	if err := s.c.Read(ctx, "Session.Get", &request, &reply, waiting(q)); err != nil || len(reply.Sessions) == 0 {
		return nil, reply.QueryMeta, err
	}
	return reply.Sessions[0], reply.QueryMeta, nil
}

// List returns all sessions in order of id.
func (s Session) List(ctx context.Context, q *structs.QueryOptions) ([]*structs.Session, structs.QueryMeta, error) {
	var reply structs.IndexedSessions
	request := structs.SessionSpecificRequest{Datacenter: s.c.config.Datacenter, QueryOptions: options(q)}
	err := s.c.Read(ctx, "Session.List", &request, &reply, waiting(q))
	return reply.Sessions, reply.QueryMeta, err
}

// Node returns the sessions of a node in order of id.
func (s Session) Node(ctx context.Context, node string, q *structs.QueryOptions) ([]*structs.Session, structs.QueryMeta, error) {
	var reply structs.IndexedSessions
	request := structs.NodeSpecificRequest{Datacenter: s.c.config.Datacenter, Node: node, QueryOptions: options(q)}
	err := s.c.Read(ctx, "Session.NodeSessions", &request, &reply, waiting(q))
	return reply.Sessions, reply.QueryMeta, err
}

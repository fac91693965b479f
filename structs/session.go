package structs

import "time"

// Session stands for a client that is believed to be alive; keys are locked in
// its name. As a stored row it is shared: clone it before changing it.
type Session struct {
	ID            string // UUID, chosen by the leader
	Name          string
	Node          string        // node on which the client runs
	LockDelay     time.Duration // how long nobody gets its locks after it was invalidated; at most MaxLockDelay
	Behavior      SessionBehavior
	TTL           string // Go duration; "" or zero: it does not expire
	NodeChecks    []string
	ServiceChecks []ServiceCheck
	Checks        []string `json:",omitempty"` // what NodeChecks were called once

	// Ours: Consul looks past it. "exact" expires the session at its TTL; the
	// default is at twice that.
	Expiry SessionExpiry `codec:",omitempty" json:",omitempty"`

	// ExpiresIn is how long the session has still to live, as seen by the
	// leader. Only replies have it; 0 if it does not expire or nobody knows.
	ExpiresIn time.Duration `codec:",omitempty" json:"-"`

	RaftIndex
}

// ServiceCheck names a check of a service on the session's node.
type ServiceCheck struct {
	ID        string
	Namespace string
}

// SessionBehavior is what becomes of the keys that an invalidated session held.
type SessionBehavior string

// The behaviors of a session.
const (
	SessionRelease SessionBehavior = "release" // their locks are released
	SessionDelete  SessionBehavior = "delete"  // they are deleted
)

// SessionExpiry is how a session's TTL is meant.
type SessionExpiry string

// The expiries of a session. The empty one is Consul's, at twice the TTL.
const (
	ExpiryDouble SessionExpiry = ""
	ExpiryExact  SessionExpiry = "exact"
)

// Limits of a session's times.
const (
	MinSessionTTL      = 10 * time.Second // for Consul's expiry; the default of session_ttl_min
	MinExactSessionTTL = time.Second
	MaxSessionTTL      = 24 * time.Hour
	MaxLockDelay       = 60 * time.Second
	DefaultLockDelay   = 15 * time.Second // over HTTP
)

// SessionOp is what a SessionRequest does.
type SessionOp string

// The operations of Session.Apply.
const (
	SessionCreate  SessionOp = "create"
	SessionDestroy SessionOp = "destroy"
)

// SessionRequest creates or destroys a session. The reply is its id.
type SessionRequest struct {
	Datacenter string
	Op         SessionOp
	Session    Session
	WriteRequest
}

// Type makes SessionRequest a Command.
func (*SessionRequest) Type() MessageType { return SessionRequestType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *SessionRequest) RequestDatacenter() string { return r.Datacenter }

// SessionSpecificRequest is a read about one session, or a renewal of it.
type SessionSpecificRequest struct {
	Datacenter string
	SessionID  string
	Session    string // what SessionID was called once; used if that is empty
	QueryOptions
}

// ID is the session that is meant.
func (q *SessionSpecificRequest) ID() string {
	if q.SessionID != "" {
		return q.SessionID
	}
	return q.Session
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *SessionSpecificRequest) RequestDatacenter() string { return q.Datacenter }

// IndexedSessions is the reply to the reads of sessions.
type IndexedSessions struct {
	Sessions []*Session
	QueryMeta
}

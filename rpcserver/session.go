package rpcserver

import (
	"context"
	"time"

	"github.com/hashicorp/go-uuid"

	"praetor/state"
	"praetor/structs"
)

// maxSessionText is how many bytes the texts of a session may have together. It
// is no option: there is room for a name of a whole command line and for many
// checks, and every session is in the memory of every server.
const maxSessionText = 16 << 10

// sessionApply checks a session before it goes into the log, and gives it its id.
func sessionApply(s *Server, c *structs.SessionRequest) error {
	session := &c.Session
	switch c.Op {
	case structs.SessionDestroy:
		if session.ID == "" {
			return structs.Errorf(structs.Invalid, "Must provide ID")
		}
		*session = structs.Session{ID: session.ID}
		return checkSessionText(session)
	case structs.SessionCreate:
	default:
		return structs.Errorf(structs.Invalid, "Invalid session operation %q", c.Op)
	}
	if session.Node == "" {
		return structs.Errorf(structs.Invalid, "Must provide Node")
	}
	session.ID, session.ExpiresIn, session.RaftIndex = "", 0, structs.RaftIndex{}
	if err := checkSessionText(session); err != nil {
		return err
	}
	switch session.Behavior {
	case "":
		session.Behavior = structs.SessionRelease
	case structs.SessionRelease, structs.SessionDelete:
	default:
		return structs.Errorf(structs.Invalid, "Invalid Behavior setting '%s'", session.Behavior)
	}
	if session.LockDelay < 0 {
		return structs.Errorf(structs.Invalid, "Invalid LockDelay '%v', must not be negative", session.LockDelay)
	}
	session.LockDelay = min(session.LockDelay, structs.MaxLockDelay)
	if err := s.checkSessionTTL(session); err != nil {
		return err
	}
	var err error
	session.ID, err = uuid.GenerateUUID()
	return err
}

// checkSessionTTL refuses a TTL that cannot be read, or is too short or too long.
func (s *Server) checkSessionTTL(session *structs.Session) error {
	shortest := s.config.SessionTTLMin
	switch session.Expiry {
	case structs.ExpiryDouble:
	case structs.ExpiryExact:
		shortest = structs.MinExactSessionTTL
	default:
		return structs.Errorf(structs.Invalid, "Invalid Expiry setting '%s', must be 'exact' or empty", session.Expiry)
	}
	if session.TTL == "" {
		return nil
	}
	ttl, err := time.ParseDuration(session.TTL)
	if err != nil {
		return structs.Errorf(structs.Invalid, "Session TTL '%s' invalid: %v", session.TTL, err)
	}
	if ttl != 0 && (ttl < shortest || ttl > structs.MaxSessionTTL) {
		return structs.Errorf(structs.Invalid, "Invalid Session TTL '%d', must be between [%v=%v]", int64(ttl), shortest, structs.MaxSessionTTL)
	}
	return nil
}

func checkSessionText(session *structs.Session) error {
	size := len(session.ID) + len(session.Name) + len(session.Node) + len(session.TTL)
	for _, check := range session.NodeChecks {
		size += len(check) + 1
	}
	for _, check := range session.Checks {
		size += len(check) + 1
	}
	for _, check := range session.ServiceChecks {
		size += len(check.ID) + len(check.Namespace) + 1
	}
	if size > maxSessionText {
		return structs.Errorf(structs.TooLarge, "session is too large: its name, node and checks have %d bytes, at most %d are allowed",
			size, maxSessionText)
	}
	return nil
}

// sessionApplied starts or ends the timer of a session.
func sessionApplied(s *Server, c *structs.SessionRequest, err error) error {
	if err != nil {
		return refusal("apply failed", err)
	}
	if c.Op == structs.SessionDestroy {
		s.sessions.forget(c.Session.ID)
	} else if life := lifetime(&c.Session); life > 0 {
		s.sessions.renew(c.Session.ID, life)
	}
	return nil
}

func sessionGet(s *Server, r *state.Reader, q *structs.SessionSpecificRequest, reply *structs.IndexedSessions) error {
	if session := r.Session(q.ID()); session != nil {
		reply.Sessions = s.expiring(session)
	}
	return nil
}

func sessionList(s *Server, r *state.Reader, _ *structs.SessionSpecificRequest, reply *structs.IndexedSessions) error {
	reply.Sessions = s.expiring(r.Sessions()...)
	return nil
}

func sessionNodeSessions(s *Server, r *state.Reader, q *structs.NodeSpecificRequest, reply *structs.IndexedSessions) error {
	reply.Sessions = s.expiring(r.NodeSessions(q.Node)...)
	return nil
}

// expiring returns the sessions with what we know of how long they have to live.
func (s *Server) expiring(sessions ...*structs.Session) []*structs.Session {
	for i, session := range sessions {
		if left := s.sessions.left(session.ID); left > 0 {
			timed := *session
			timed.ExpiresIn = left
			sessions[i] = &timed
		}
	}
	return sessions
}

// sessionRenew gives a session its whole time again. Nothing is logged, so the
// leader proves that it leads after it did: whoever takes over later starts the
// timer later. A session whose time was up is unknown, even while it is there.
func sessionRenew(ctx context.Context, s *Server, q *structs.SessionSpecificRequest, reply *structs.IndexedSessions) error {
	store, err := s.provenStore(ctx, true)
	if err != nil {
		return err
	}
	r := store.Read()
	session := r.Session(q.ID())
	if session != nil {
		if life := lifetime(session); life > 0 && !s.sessions.renew(session.ID, life) {
			session = nil
		}
	}
	if err := s.proveLeadership(ctx); err != nil {
		return err
	}
	reply.Sessions = nil
	if session != nil {
		reply.Sessions = s.expiring(session)
	}
	s.setMeta(&reply.QueryMeta, r.Epoch(), r.Index())
	return nil
}

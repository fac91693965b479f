package state

import (
	"slices"

	"praetor/structs"
)

// Sessions are found whatever the case of their id.
var Sessions = newTable("sessions", func(s *structs.Session) Key { return sessionKey(s.ID) })

var sessionsByNode = Sessions.index("node", func(s *structs.Session) Key { return key(structs.FoldName(s.Node)) })

// sessionsByCheck leaves serfHealth out: nearly every session has it, and to go
// through all those of the node costs no more.
var sessionsByCheck = Sessions.each("check", func(s *structs.Session) []Key {
	var keys []Key
	for _, check := range checksOf(s) {
		if check = structs.FoldName(check); check != foldedSerfHealth {
			keys = append(keys, key(structs.FoldName(s.Node), check))
		}
	}
	return keys
})

var foldedSerfHealth = structs.FoldName(structs.SerfHealth)

// sessionGone is told of each session that goes, after the session is gone and
// its locks with it. Whoever binds something to sessions has a line here.
var sessionGone = []func(*Writer, *structs.Session){}

func sessionKey(id string) Key { return key(structs.FoldName(id)) }

func sameSession(a, b string) bool { return structs.FoldName(a) == structs.FoldName(b) }

// checksOf are the ids of the checks that the session depends on.
func checksOf(s *structs.Session) []string {
	ids := make([]string, 0, len(s.NodeChecks)+len(s.Checks)+len(s.ServiceChecks))
	ids = append(append(ids, s.NodeChecks...), s.Checks...)
	for _, check := range s.ServiceChecks {
		ids = append(ids, check.ID)
	}
	return ids
}

// Session returns a session, or nil. Its index is that of the table.
func (r *Reader) Session(id string) *structs.Session {
	r.saw(r.tableIndex(Sessions.name))
	session := Sessions.get(r, sessionKey(id))
	r.missing = r.missing || session == nil
	return session
}

// Sessions returns all sessions in order of id. Its index is that of the table.
func (r *Reader) Sessions() []*structs.Session {
	r.saw(r.tableIndex(Sessions.name))
	return slices.Collect(Sessions.All(r))
}

// NodeSessions returns the sessions of a node in order of id. Its index is that
// of the table.
func (r *Reader) NodeSessions(node string) []*structs.Session {
	r.saw(r.tableIndex(Sessions.name))
	return slices.Collect(sessionsByNode.with(r, key(structs.FoldName(node))))
}

// SessionsIndex is the raft index at which a session last came or went. The
// whole table is watched.
func (r *Reader) SessionsIndex() uint64 {
	Sessions.All(r)
	return r.tableIndex(Sessions.name)
}

// ApplySession creates or destroys a session and returns the id of a new one.
func (w *Writer) ApplySession(c *structs.SessionRequest) (string, error) {
	if c.Session.ID == "" {
		return "", structs.Errorf(structs.Invalid, "Missing session ID")
	}
	switch c.Op {
	case structs.SessionCreate:
		return c.Session.ID, w.createSession(&c.Session)
	case structs.SessionDestroy:
		w.destroySession(c.Session.ID)
		return "", nil
	}
	return "", structs.Errorf(structs.Invalid, "Invalid session operation '%s'", c.Op)
}

func (w *Writer) createSession(s *structs.Session) error {
	if Sessions.get(&w.Reader, sessionKey(s.ID)) != nil {
		return structs.Errorf(structs.Conflict, "Session '%s' exists", s.ID)
	}
	node := w.node(s.Node)
	if node == nil {
		return structs.Errorf(structs.Invalid, "Missing node registration")
	}
	for _, id := range checksOf(s) {
		check := w.check(s.Node, id)
		if check == nil {
			return structs.Errorf(structs.Invalid, "Missing check '%s' registration", id)
		}
		if check.Status == structs.HealthCritical && check.Type != checkOfSession {
			return structs.Errorf(structs.Invalid, "Check '%s' is in critical state", id)
		}
	}
	row := *s
	row.ExpiresIn = 0
	row.CreateIndex, row.ModifyIndex = w.index, w.index
	share(&row, node)
	Sessions.put(w, &row)
	w.changed(Sessions.name)
	w.turnChecks(&row, structs.HealthPassing)
	return nil
}

var standardChecks = []string{structs.SerfHealth}

// share lets sessions have one copy of what is alike in most of them.
func share(s *structs.Session, node *structs.Node) {
	if s.Node == node.Node {
		s.Node = node.Node
	}
	switch s.Behavior {
	case structs.SessionRelease:
		s.Behavior = structs.SessionRelease
	case structs.SessionDelete:
		s.Behavior = structs.SessionDelete
	}
	if slices.Equal(s.NodeChecks, standardChecks) {
		s.NodeChecks = standardChecks
	}
}

// destroySession invalidates a session: its locks are lost, and whatever else
// is bound to it. An unknown one is none.
func (w *Writer) destroySession(id string) {
	s := Sessions.get(&w.Reader, sessionKey(id))
	if s == nil {
		return
	}
	Sessions.remove(w, s)
	w.changed(Sessions.name)
	for _, held := range slices.Collect(kvsBySession.with(&w.Reader, sessionKey(s.ID))) {
		w.loseLock(held, s)
	}
	for _, gone := range sessionGone {
		gone(w, s)
	}
	w.turnChecks(s, structs.HealthCritical)
}

// loseCheck invalidates the sessions that depend on a check which has turned
// critical or was removed. Node and check are found whatever their case.
func (w *Writer) loseCheck(node, check string) {
	folded := structs.FoldName(check)
	lost := sessionsByCheck.with(&w.Reader, key(structs.FoldName(node), folded))
	if folded == foldedSerfHealth {
		lost = sessionsByNode.with(&w.Reader, key(structs.FoldName(node)))
	}
	for _, s := range slices.Collect(lost) {
		if slices.ContainsFunc(checksOf(s), func(id string) bool { return structs.FoldName(id) == folded }) {
			w.destroySession(s.ID)
		}
	}
}

// loseNode invalidates the sessions of a node that was removed.
func (w *Writer) loseNode(node string) {
	for _, s := range slices.Collect(sessionsByNode.with(&w.Reader, key(structs.FoldName(node)))) {
		w.destroySession(s.ID)
	}
}

// checkOfSession is the type of the checks that follow a session.
const checkOfSession = "session"

// turnChecks gives the checks of the session's node that follow it a status. One
// that cannot be written is on its way out, with its service.
func (w *Writer) turnChecks(s *structs.Session, status string) {
	if s.Name == "" {
		return
	}
	for _, check := range w.checksOn(s.Node) {
		if check.Type == checkOfSession && check.Definition.SessionName == s.Name && check.Status != status {
			row := *check
			row.Status = status
			_ = w.putCheck(&row)
		}
	}
}

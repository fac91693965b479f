package state

import (
	"reflect"
	"slices"

	"praetor/structs"
)

// PreparedQueries are found whatever the case of their id and name.
var PreparedQueries = newTable("prepared-queries", func(q *structs.PreparedQuery) Key { return queryKey(q.ID) })

var (
	queriesByName = PreparedQueries.index("name", func(q *structs.PreparedQuery) Key {
		if q.Name == "" {
			return nil
		}
		return queryKey(q.Name)
	})
	templatesByName = PreparedQueries.index("template", func(q *structs.PreparedQuery) Key {
		if !q.IsTemplate() {
			return nil
		}
		return queryKey(q.Name)
	})
	queriesBySession = PreparedQueries.index("session", func(q *structs.PreparedQuery) Key {
		if q.Session == "" {
			return nil
		}
		return queryKey(q.Session)
	})
)

// maxTemplateName is how long the name of a template may be in bytes to be
// found: the search takes a step for each.
const maxTemplateName = 1 << 10

func queryKey(idOrName string) Key { return key(structs.FoldName(idOrName)) }

// PreparedQuery returns the query with an id, or nil. Its index is that of the
// table.
func (r *Reader) PreparedQuery(id string) *structs.PreparedQuery {
	r.saw(r.tableIndex(PreparedQueries.name))
	return PreparedQueries.get(r, queryKey(id))
}

// PreparedQueries returns all queries in order of id. Its index is that of the
// table.
func (r *Reader) PreparedQueries() []*structs.PreparedQuery {
	r.saw(r.tableIndex(PreparedQueries.name))
	return slices.Collect(PreparedQueries.All(r))
}

// FindPreparedQuery returns the query that answers to an id or a name, or nil:
// that which has it, else the template with the longest name that this one
// begins with. It is not watched.
func (r *Reader) FindPreparedQuery(idOrName string) *structs.PreparedQuery {
	r = r.quiet()
	if q := PreparedQueries.get(r, queryKey(idOrName)); q != nil {
		return q
	}
	for q := range queriesByName.with(r, queryKey(idOrName)) {
		return q
	}
	folded := structs.FoldName(idOrName)
	for n := min(len(folded), maxTemplateName); n >= 0; n-- {
		for q := range templatesByName.with(r, key(folded[:n])) {
			return q
		}
	}
	return nil
}

// ApplyPreparedQuery creates, changes or deletes a query and returns its id.
func (w *Writer) ApplyPreparedQuery(c *structs.PreparedQueryRequest) (string, error) {
	if c.Query == nil || c.Query.ID == "" {
		return "", structs.Errorf(structs.Invalid, "Missing Query ID")
	}
	before := PreparedQueries.get(&w.Reader, queryKey(c.Query.ID))
	if before == nil && c.Op != structs.PreparedQueryCreate {
		return "", structs.Errorf(structs.NotFound, "Cannot modify non-existent prepared query: '%s'", c.Query.ID)
	}
	switch c.Op {
	case structs.PreparedQueryCreate, structs.PreparedQueryUpdate:
		return c.Query.ID, w.putPreparedQuery(before, c.Query)
	case structs.PreparedQueryDelete:
		w.removePreparedQuery(before)
		return c.Query.ID, nil
	}
	return "", structs.Errorf(structs.Invalid, "Unknown prepared query operation: %s", c.Op)
}

// putPreparedQuery writes a query. A write that changes nothing wakes nobody.
func (w *Writer) putPreparedQuery(before, given *structs.PreparedQuery) error {
	if given.Session != "" && Sessions.get(&w.Reader, sessionKey(given.Session)) == nil {
		return structs.Errorf(structs.Invalid, "raft apply failed: invalid session %q", given.Session)
	}
	if err := w.mayHaveQueryName(given); err != nil {
		return err
	}
	row := *given
	row.CreateIndex, row.ModifyIndex = w.index, w.index
	if before != nil {
		row.ID, row.CreateIndex = before.ID, before.CreateIndex
		same := *before
		same.RaftIndex = row.RaftIndex
		if reflect.DeepEqual(&same, &row) {
			return nil
		}
	}
	PreparedQueries.put(w, &row)
	w.changed(PreparedQueries.name)
	return nil
}

// mayHaveQueryName refuses a name by which another query would be found.
func (w *Writer) mayHaveQueryName(q *structs.PreparedQuery) error {
	other := func(found *structs.PreparedQuery) bool {
		return structs.FoldName(found.ID) != structs.FoldName(q.ID)
	}
	if q.Name == "" {
		if q.IsTemplate() && slices.ContainsFunc(slices.Collect(templatesByName.with(&w.Reader, queryKey(""))), other) {
			return structs.Errorf(structs.Conflict, "raft apply failed: there is a template for all names already")
		}
		return nil
	}
	if slices.ContainsFunc(slices.Collect(queriesByName.with(&w.Reader, queryKey(q.Name))), other) {
		return structs.Errorf(structs.Conflict, "raft apply failed: name '%s' aliases an existing query name", q.Name)
	}
	if PreparedQueries.get(&w.Reader, queryKey(q.Name)) != nil {
		return structs.Errorf(structs.Conflict, "raft apply failed: name '%s' aliases an existing query ID", q.Name)
	}
	return nil
}

func (w *Writer) removePreparedQuery(q *structs.PreparedQuery) {
	PreparedQueries.remove(w, q)
	w.changed(PreparedQueries.name)
}

// loseQueries deletes the queries that are bound to a session which has gone.
func (w *Writer) loseQueries(s *structs.Session) {
	for _, q := range slices.Collect(queriesBySession.with(&w.Reader, queryKey(s.ID))) {
		w.removePreparedQuery(q)
	}
}

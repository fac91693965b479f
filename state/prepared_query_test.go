package state_test

import (
	"testing"
	"testing/synctest"

	"praetor/structs"
)

// query applies a change of queries at the next raft index.
func (d *db) query(op structs.PreparedQueryOp, q structs.PreparedQuery) (string, error) {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	id, err := w.ApplyPreparedQuery(&structs.PreparedQueryRequest{Op: op, Query: &q})
	if err != nil {
		w.Undo()
	}
	w.Commit()
	return id, err
}

func (d *db) mustQuery(op structs.PreparedQueryOp, list ...structs.PreparedQuery) {
	d.t.Helper()
	for _, q := range list {
		if id, err := d.query(op, q); err != nil || id != q.ID {
			d.t.Fatalf("%s %s at %d: got %q, %v", op, q.ID, d.index, id, err)
		}
	}
}

func (d *db) bindSession(id string) {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	c := &structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: id, Node: "a"}}
	if _, err := w.ApplySession(c); err != nil {
		d.t.Fatal(err)
	}
	w.Commit()
}

func plainQuery(id, name string) structs.PreparedQuery {
	return structs.PreparedQuery{ID: id, Name: name}
}

func templateQuery(id, name string) structs.PreparedQuery {
	q := plainQuery(id, name)
	q.Template.Type = structs.QueryTemplateNamePrefix
	return q
}

func TestPreparedQueries(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustQuery(structs.PreparedQueryCreate, plainQuery("id-1", "web"), plainQuery("id-2", "")) // 1, 2
	if r := d.Read(); len(r.PreparedQueries()) != 2 || r.Index() != 2 {
		t.Errorf("got %d queries at %d, want 2 at 2", len(r.PreparedQueries()), r.Index())
	}
	d.mustQuery(structs.PreparedQueryUpdate, plainQuery("id-1", "web")) // 3: nothing new
	if r := d.Read(); r.PreparedQuery("ID-1").ModifyIndex != 1 || r.Index() != 2 {
		t.Errorf("a write that changes nothing raised the index to %d", r.Index())
	}
	d.mustQuery(structs.PreparedQueryUpdate, plainQuery("id-1", "db")) // 4
	if q := d.Read().PreparedQuery("id-1"); q.Name != "db" || q.CreateIndex != 1 || q.ModifyIndex != 4 {
		t.Errorf("got %+v, want db, made at 1, changed at 4", q)
	}
	d.mustQuery(structs.PreparedQueryDelete, plainQuery("id-1", "")) // 5
	if r := d.Read(); r.PreparedQuery("id-1") != nil || r.Index() != 5 {
		t.Errorf("a deleted query is there, index %d", r.Index())
	}
}

func TestFindPreparedQuery(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustQuery(structs.PreparedQueryCreate,
		plainQuery("id-1", "geo-db-main"), templateQuery("id-2", "geo-"), templateQuery("id-3", "geo-DB"), plainQuery("id-4", ""))
	find := func(name string) string {
		if q := d.Read().FindPreparedQuery(name); q != nil {
			return q.ID
		}
		return ""
	}
	tests := map[string]string{
		"geo-db-main": "id-1", "Geo-Db-Main": "id-1", "geo-db-mai": "id-3", "geo-d": "id-2", "geo-": "id-2", "GEO-DB": "id-3",
		"geo": "", "other": "", "": "", "id-4": "id-4", "ID-3": "id-3",
	}
	for name, want := range tests {
		if got := find(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	d.mustQuery(structs.PreparedQueryCreate, templateQuery("id-5", ""))
	for name, want := range tests {
		if want == "" {
			want = "id-5"
		}
		if got := find(name); got != want {
			t.Errorf("with a template for all, %q: got %q, want %q", name, got, want)
		}
	}
}

func TestQueryGoesWithItsSession(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustRegister(node("a")) // 1
	d.bindSession("s")        // 2
	d.bindSession("t")        // 3
	bound, other := plainQuery("id-1", "bound"), plainQuery("id-2", "other")
	bound.Session, other.Session = "S", "t"
	d.mustQuery(structs.PreparedQueryCreate, bound, other, plainQuery("id-3", "free")) // 4, 5, 6
	d.deregister("a", "service:none")                                                  // 7: nothing
	if got := len(d.Read().PreparedQueries()); got != 3 {
		t.Fatalf("got %d queries, want 3", got)
	}
	d.index++
	w := d.Write()
	w.Begin(d.index)
	if _, err := w.ApplySession(&structs.SessionRequest{Op: structs.SessionDestroy, Session: structs.Session{ID: "s"}}); err != nil {
		t.Fatal(err)
	}
	w.Commit()
	if r := d.Read(); r.PreparedQuery("id-1") != nil || len(r.PreparedQueries()) != 2 || r.Index() != 8 {
		t.Errorf("the query of a destroyed session is there, or others are not; index %d", r.Index())
	}
	d.deregister("a", "") // 9
	if r := d.Read(); len(r.PreparedQueries()) != 1 || r.PreparedQuery("id-3") == nil || r.Index() != 9 {
		t.Errorf("with the node gone, %d queries are left, want the free one", len(r.PreparedQueries()))
	}
}

// What is refused leaves no trace.
func TestRefusedQueries(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustQuery(structs.PreparedQueryCreate, plainQuery("id-1", "web"), templateQuery("id-2", ""))
	bound := plainQuery("id-3", "bound")
	bound.Session = "zz"
	for _, test := range []struct {
		op    structs.PreparedQueryOp
		query structs.PreparedQuery
		want  string
	}{
		{structs.PreparedQueryCreate, bound, `raft apply failed: invalid session "zz"`},
		{structs.PreparedQueryCreate, plainQuery("id-3", "WEB"), "raft apply failed: name 'WEB' aliases an existing query name"},
		{structs.PreparedQueryCreate, plainQuery("id-3", "ID-1"), "raft apply failed: name 'ID-1' aliases an existing query ID"},
		{structs.PreparedQueryCreate, templateQuery("id-3", ""), "raft apply failed: there is a template for all names already"},
		{structs.PreparedQueryCreate, templateQuery("id-3", "web"), "raft apply failed: name 'web' aliases an existing query name"},
		{structs.PreparedQueryUpdate, plainQuery("id-9", "x"), "Cannot modify non-existent prepared query: 'id-9'"},
		{structs.PreparedQueryDelete, plainQuery("id-9", ""), "Cannot modify non-existent prepared query: 'id-9'"},
		{"nonsense", plainQuery("id-1", ""), "Unknown prepared query operation: nonsense"},
		{structs.PreparedQueryCreate, plainQuery("", "x"), "Missing Query ID"},
	} {
		if _, err := d.query(test.op, test.query); err == nil || err.Error() != test.want {
			t.Errorf("%s %+v: got %v, want %s", test.op, test.query, err, test.want)
		}
	}
	if r := d.Read(); len(r.PreparedQueries()) != 2 || r.Index() != 2 {
		t.Errorf("%d queries at %d, want 2 at 2", len(r.PreparedQueries()), r.Index())
	}
}

func TestQueryWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDB(t)
		d.mustQuery(structs.PreparedQueryCreate, plainQuery("id-1", "a"), plainQuery("id-2", "b"))
		one, all := d.Watch(), d.Watch()
		one.PreparedQuery("id-1")
		all.PreparedQueries()
		d.mustQuery(structs.PreparedQueryUpdate, plainQuery("id-2", "c"))
		if woken(one) || !woken(all) {
			t.Error("a change of one query must wake who watches all, not who watches another")
		}
	})
}

package state_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"praetor/state"
	"praetor/structs"
)

// register applies a registration at the next raft index and returns its error.
func (d *db) register(c *structs.RegisterRequest) error {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	if _, err := w.ApplyRegister(c); err != nil {
		w.Undo()
		w.Commit()
		return err
	}
	w.Commit()
	return nil
}

func (d *db) mustRegister(list ...*structs.RegisterRequest) {
	d.t.Helper()
	for _, c := range list {
		if err := d.register(c); err != nil {
			d.t.Fatalf("register at %d: %v", d.index, err)
		}
	}
}

// deregister takes out a node, or a service:ID or check:ID of it.
func (d *db) deregister(node, what string) {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	c := &structs.DeregisterRequest{Node: node}
	if id, ok := strings.CutPrefix(what, "service:"); ok {
		c.ServiceID = id
	} else if id, ok := strings.CutPrefix(what, "check:"); ok {
		c.CheckID = id
	}
	if _, err := w.ApplyDeregister(c); err != nil {
		d.t.Fatal(err)
	}
	w.Commit()
}

func node(name string) *structs.RegisterRequest {
	return &structs.RegisterRequest{Node: name, Address: "10.0.0.1"}
}

func service(nodeName, id, name string) *structs.RegisterRequest {
	c := node(nodeName)
	c.Service = &structs.NodeService{ID: id, Service: name}
	return c
}

func check(nodeName, id, service, status string) *structs.RegisterRequest {
	c := node(nodeName)
	c.Check = &structs.HealthCheck{Node: nodeName, CheckID: id, Name: id, ServiceID: service, Status: status}
	return c
}

// rows are the index rows, without the table names that every write raises.
func (d *db) rows() map[string]uint64 {
	rows := map[string]uint64{}
	for row := range state.Indexes.All(d.Read()) {
		rows[row.Key] = row.Value
	}
	return rows
}

// Which index rows each write sets, and removes: consul-wire.md 8.6.
func TestCatalogIndexRows(t *testing.T) {
	t.Parallel()
	const (
		nodes    = "nodes peer.~:nodes"
		services = "services peer.~:services service_kind.typical peer.~:service_kind.typical"
		kind     = "service_kind.typical peer.~:service_kind.typical"
		checks   = "checks peer.~:checks"
		n1       = "peer.~:node.n1"
		web      = "peer.~:service.web"
		db_      = "peer.~:service.db"
		gone     = "service_last_extinction peer.~:service_last_extinction"
		nodeGone = "node_last_extinction peer.~:node_last_extinction"
	)
	changed := node("n1")
	changed.NodeMeta = map[string]string{"a": "b"}
	renamed := service("n1", "web1", "www")
	gateway := service("n1", "g", "gate")
	gateway.Service.Kind = "mesh-gateway"
	for _, test := range []struct {
		name          string
		write         func(d *db)
		raised, freed string
	}{
		{"a new node", func(d *db) { d.mustRegister(node("n9")) }, nodes + " peer.~:node.n9", ""},
		{"a node again", func(d *db) { d.mustRegister(node("n1")) }, "", ""},
		{"a changed node", func(d *db) { d.mustRegister(changed) }, strings.Join([]string{nodes, n1, web, db_, kind}, " "), ""},
		{"a new instance", func(d *db) { d.mustRegister(service("n2", "web9", "web")) }, strings.Join([]string{nodes, "peer.~:node.n2", services, web}, " "), ""},
		{"a service again", func(d *db) { d.mustRegister(service("n1", "web1", "web")) }, "", ""},
		{"a service under another name", func(d *db) { d.mustRegister(renamed) }, strings.Join([]string{nodes, n1, services, web, "peer.~:service.www"}, " "), ""},
		{"another kind", func(d *db) { d.mustRegister(gateway) }, strings.Join([]string{nodes, n1, "services peer.~:services", "service_kind.mesh-gateway peer.~:service_kind.mesh-gateway peer.~:service.gate"}, " "), ""},
		{"a check of a service", func(d *db) { d.mustRegister(check("n1", "c9", "web1", "passing")) }, strings.Join([]string{checks, web, kind}, " "), ""},
		{"a check of a node", func(d *db) { d.mustRegister(check("n1", "c9", "", "passing")) }, strings.Join([]string{checks, web, db_, kind}, " "), ""},
		{"a check again", func(d *db) { d.mustRegister(check("n1", "alive", "", "passing")) }, "", ""},
		{"a check that fails", func(d *db) { d.mustRegister(check("n1", "web", "web1", "critical")) }, strings.Join([]string{checks, web, kind}, " "), ""},
		{"one instance less", func(d *db) { d.deregister("n1", "service:web1") }, strings.Join([]string{nodes, n1, services, checks, web}, " "), ""},
		{"the last instance", func(d *db) { d.deregister("n1", "service:db1") }, strings.Join([]string{nodes, n1, services, gone}, " "), db_},
		{"no such service", func(d *db) { d.deregister("n1", "service:nope") }, "", ""},
		{"a check less", func(d *db) { d.deregister("n1", "check:alive") }, strings.Join([]string{checks, web, db_, kind}, " "), ""},
		{"no such check", func(d *db) { d.deregister("n1", "check:nope") }, "", ""},
		{"a node less", func(d *db) { d.deregister("n1", "") }, strings.Join([]string{nodes, services, checks, web, gone, nodeGone}, " "), n1 + " " + db_},
		{"no such node", func(d *db) { d.deregister("nope", "") }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			d.mustRegister(service("n1", "web1", "web"), service("n2", "web2", "web"), service("n1", "db1", "db"),
				check("n1", "alive", "", "passing"), check("n1", "web", "web1", "passing"))
			want := d.rows()
			test.write(d.at(100))
			for _, row := range strings.Fields(test.raised) {
				want[row] = 100
			}
			for _, row := range strings.Fields(test.freed) {
				delete(want, row)
			}
			if diff := cmp.Diff(want, d.rows()); diff != "" {
				t.Errorf("index rows (-want +got):\n%s", diff)
			}
		})
	}
}

// What a reader of each kind gets for an index, and who is woken by what.
func TestCatalogReads(t *testing.T) {
	t.Parallel()
	readers := map[string]func(*state.Reader){
		"nodes":         func(r *state.Reader) { r.Nodes() },
		"services":      func(r *state.Reader) { r.AllServices() },
		"node n1":       func(r *state.Reader) { r.NodeServices("N1") },
		"node n2":       func(r *state.Reader) { r.NodeServices("n2") },
		"catalog web":   func(r *state.Reader) { r.ServiceNodes("Web") },
		"health web":    func(r *state.Reader) { r.CheckServiceNodes("web") },
		"health db":     func(r *state.Reader) { r.CheckServiceNodes("db") },
		"checks of n1":  func(r *state.Reader) { r.NodeChecks("n1") },
		"checks of web": func(r *state.Reader) { r.ServiceChecks("web") },
		"all checks":    func(r *state.Reader) { r.ChecksInState("any") },
	}
	changed := node("n1")
	changed.NodeMeta = map[string]string{"a": "b"}
	for _, test := range []struct {
		name  string
		write func(d *db)
		wakes string // names of readers, with a comma between them
	}{
		{"a new node", func(d *db) { d.mustRegister(node("n9")) }, "nodes"},
		{"the same node", func(d *db) { d.mustRegister(node("n1")) }, ""},
		{"the same service", func(d *db) { d.mustRegister(service("n1", "web1", "web")) }, ""},
		{"the same check", func(d *db) { d.mustRegister(check("n1", "alive", "", "passing")) }, ""},
		{"a node with web changes", func(d *db) { d.mustRegister(changed) }, "catalog web,health web,node n1,nodes"},
		{"a new db", func(d *db) { d.mustRegister(service("n2", "db2", "db")) }, "health db,node n2,nodes,services"},
		{"a check of db", func(d *db) { d.mustRegister(check("n2", "c", "db1", "critical")) }, "all checks,checks of n1,checks of web,health db"},
		{"a check of the node of web", func(d *db) { d.mustRegister(check("n1", "alive", "", "critical")) }, "all checks,catalog web,checks of n1,checks of web,health web"},
		{"db goes", func(d *db) { d.deregister("n2", "service:db1") }, "health db,node n2,nodes,services"},
		{"n2 goes", func(d *db) { d.deregister("n2", "") }, "health db,node n2,nodes,services"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDB(t)
				d.mustRegister(service("n1", "web1", "web"), service("n2", "db1", "db"), check("n1", "alive", "", "passing"))
				waiting := map[string]*state.Reader{}
				for name, read := range readers {
					waiting[name] = d.Watch()
					read(waiting[name])
				}
				test.write(d.at(100))
				var awake []string
				for _, name := range slices.Sorted(maps.Keys(waiting)) {
					again := d.Read()
					readers[name](again)
					woke := woken(waiting[name])
					if woke {
						awake = append(awake, name)
					}
					if rose := again.Index() == 100; rose != woke {
						t.Errorf("%s: woken %v, but its index went from %d to %d", name, woke, waiting[name].Index(), again.Index())
					}
				}
				if got := strings.Join(awake, ","); got != test.wakes {
					t.Errorf("woke %s\nwant %s", got, test.wakes)
				}
			})
		})
	}
}

// The index of what is not there.
func TestCatalogIndexOfNothing(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	index := func(read func(*state.Reader)) uint64 {
		r := d.Read()
		read(r)
		if !r.Missing() {
			t.Errorf("something that is not there is not missing")
		}
		return r.Index()
	}
	health := func(r *state.Reader) { r.CheckServiceNodes("nope") }
	catalog := func(r *state.Reader) { r.ServiceNodes("nope") }
	onNode := func(r *state.Reader) { r.NodeServices("nope") }
	for _, step := range []struct {
		what                    string
		do                      func()
		catalog, health, onNode uint64
	}{
		{"nothing was ever there", func() {}, 0, 0, 0},
		{"a service", func() { d.at(10).mustRegister(service("n1", "web", "web")) }, 10, 10, 0},
		{"a check", func() { d.at(11).mustRegister(check("n1", "c", "web", "")) }, 10, 11, 0},
		{"the service goes", func() { d.at(12).deregister("n1", "service:web") }, 12, 12, 0},
		{"a node", func() { d.at(13).mustRegister(node("n2")) }, 12, 12, 0},
		{"a node goes", func() { d.at(14).deregister("n2", "") }, 12, 12, 14},
	} {
		step.do()
		if a, b, c := index(catalog), index(health), index(onNode); a != step.catalog || b != step.health || c != step.onNode {
			t.Errorf("%s: catalog, health, node: got %d, %d, %d, want %d, %d, %d", step.what, a, b, c, step.catalog, step.health, step.onNode)
		}
	}
}

// Names and ids are found whatever their case, and shown as they were given.
func TestCatalogFoldsCase(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustRegister(service("Web-1", "Web1", "Web"), check("WEB-1", "Alive", "WEB1", "passing"))
	r := d.Read()
	got := r.CheckServiceNodes("wEb")
	if len(got) != 1 || got[0].Node.Node != "WEB-1" || got[0].Service.Service != "Web" || len(got[0].Checks) != 1 {
		t.Fatalf("got %+v", got)
	}
	if c := r.Check("web-1", "alive"); c == nil || c.ServiceName != "Web" || c.CheckID != "Alive" {
		t.Errorf("check: got %+v", c)
	}
	if s := r.Service("web-1", "web1"); s == nil || s.ID != "Web1" {
		t.Errorf("service: got %+v", s)
	}
	d.deregister("web-1", "")
	if r := d.Read(); len(r.Nodes())+len(r.AllServices())+len(r.ChecksInState("any")) != 0 {
		t.Error("something is left of the node")
	}
}

const (
	uuid1 = "11111111-2222-3333-4444-555555555555"
	uuid2 = "22222222-2222-3333-4444-555555555555"
)

func withID(c *structs.RegisterRequest, id string) *structs.RegisterRequest {
	c.ID = id
	return c
}

func TestNodeIDs(t *testing.T) {
	t.Parallel()
	healthy := func(d *db) { d.mustRegister(withID(check("old", structs.SerfHealth, "", "passing"), uuid1)) }
	for _, test := range []struct {
		name   string
		before func(d *db)
		write  *structs.RegisterRequest
		want   string // names and ids of the nodes afterwards
		err    string
	}{
		{"renamed", func(d *db) { d.mustRegister(withID(service("old", "s", "s"), uuid1)) }, withID(node("new"), uuid1), "new " + uuid1, ""},
		{"renamed in case only", func(d *db) { d.mustRegister(withID(service("old", "s", "s"), uuid1)) }, withID(node("Old"), uuid1), "Old " + uuid1 + " s", ""},
		{"taken by one in good health", healthy, withID(node("old"), uuid2), "old " + uuid1,
			`failed inserting node: Error while renaming Node ID: "` + uuid2 + `" (10.0.0.1): Node name old is reserved by node ` + uuid1 + ` with name old (10.0.0.1)`},
		{"taken by one that gossip does not know", func(d *db) { d.mustRegister(withID(node("old"), uuid1)) }, withID(node("old"), uuid2), "old " + uuid2, ""},
		{"taken by one that failed", func(d *db) { d.mustRegister(withID(check("old", structs.SerfHealth, "", "critical"), uuid1)) }, withID(node("old"), uuid2), "old " + uuid2, ""},
		{"given an id", func(d *db) { d.mustRegister(check("old", structs.SerfHealth, "", "passing")) }, withID(node("old"), uuid1), "old " + uuid1, ""},
		{"renamed to a name in good health", func(d *db) { healthy(d); d.mustRegister(withID(node("other"), uuid2)) }, withID(node("old"), uuid2),
			"old " + uuid1 + ",other " + uuid2, `failed inserting node: Error while renaming Node ID: "` + uuid2 + `" (10.0.0.1): Node name old is reserved by node ` + uuid1 + ` with name old (10.0.0.1)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			test.before(d)
			rows := d.rows()
			err := d.at(100).register(test.write)
			if text := errorText(err); text != test.err {
				t.Errorf("got error  %s\nwant error %s", text, test.err)
			}
			if diff := cmp.Diff(rows, d.rows()); test.err != "" && diff != "" {
				t.Errorf("a refused registration changed index rows:\n%s", diff)
			}
			r := d.Read()
			var got []string
			for _, n := range r.Nodes() {
				text := n.Node + " " + n.ID
				_, services := r.NodeServices(n.Node)
				for _, s := range services {
					text += " " + s.ID
				}
				got = append(got, text)
			}
			if got := strings.Join(got, ","); got != test.want {
				t.Errorf("nodes: got %s, want %s", got, test.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A registration that fails in its last part leaves nothing of the first ones.
func TestRegisterIsAllOrNothing(t *testing.T) {
	t.Parallel()
	bad := service("n1", "web1", "web")
	bad.Checks = []*structs.HealthCheck{
		{Node: "n1", CheckID: "good", ServiceID: "web1"},
		{Node: "n1", CheckID: "a", ServiceID: "nope"},
	}
	other := service("n1", "web1", "web")
	other.Check = &structs.HealthCheck{Node: "n2", CheckID: "a"}
	foreign := node("n1")
	foreign.PeerName = "peer"
	for want, c := range map[string]*structs.RegisterRequest{
		"Unknown service ID 'nope' for check ID 'a'":                       bad,
		"Node 'n2' for check 'a' doesn't match register request node 'n1'": other,
		"cannot register requests with PeerName in them":                   foreign,
		"failed inserting node: Must provide node":                         node(""),
		"one of the checks is empty":                                       {Node: "n1", Checks: []*structs.HealthCheck{nil}},
	} {
		d := newDB(t)
		if got := errorText(d.register(c)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if rows := d.rows(); len(rows) != 0 || len(d.Read().Nodes()) != 0 {
			t.Errorf("%s: left %v", want, rows)
		}
	}
}

func TestSkipNodeUpdate(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustRegister(node("n1"))
	c := &structs.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Address: "10.9.9.9", Check: &structs.HealthCheck{Node: "n1", CheckID: "c"}}
	d.mustRegister(c)
	r := d.Read()
	if n := r.Node("n1"); n.Address != "10.0.0.1" || n.ModifyIndex != 1 {
		t.Errorf("the node was updated: %+v", n)
	}
	if got := r.Check("n1", "c"); got == nil || got.Status != structs.HealthCritical || got.CreateIndex != 2 {
		t.Errorf("a check without a status: got %+v, want it to be critical", got)
	}
}

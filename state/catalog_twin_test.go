package state_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"praetor/state"
	"praetor/structs"
)

// catalogTwin is the catalog as maps, by names in lower case.
type catalogTwin struct {
	nodes    map[string]string    // address and id
	services map[[2]string]string // name, tag by node and id
	checks   map[[2]string]string // status, service id by node and id
}

func (m *catalogTwin) clone() *catalogTwin {
	return &catalogTwin{maps.Clone(m.nodes), maps.Clone(m.services), maps.Clone(m.checks)}
}

func (m *catalogTwin) removeNode(node string) {
	delete(m.nodes, node)
	maps.DeleteFunc(m.services, func(k [2]string, _ string) bool { return k[0] == node })
	maps.DeleteFunc(m.checks, func(k [2]string, _ string) bool { return k[0] == node })
}

// register returns false, and is then to be forgotten, where it must fail.
func (m *catalogTwin) register(c *structs.RegisterRequest) bool {
	node := strings.ToLower(c.Node)
	before, exists := m.nodes[node]
	if !exists || !c.SkipNodeUpdate {
		row := c.Address + " " + c.ID
		twin := ""
		for name, other := range m.nodes {
			if c.ID != "" && name != node && strings.HasSuffix(other, " "+c.ID) {
				twin = name
			}
		}
		if _, id, _ := strings.Cut(before, " "); exists && c.ID != "" && id != c.ID && !(id == "" && twin == "") {
			if status, ok := m.checks[[2]string{node, "serfhealth"}]; ok && !strings.HasPrefix(status, "critical") {
				return false
			}
		}
		if twin != "" {
			m.removeNode(twin)
		}
		m.nodes[node] = row
	}
	if s := c.Service; s != nil {
		m.services[[2]string{node, strings.ToLower(s.ID)}] = s.Service + " " + strings.Join(s.Tags, ",")
	}
	for _, check := range c.Checks {
		if _, ok := m.services[[2]string{node, strings.ToLower(check.ServiceID)}]; check.ServiceID != "" && !ok {
			return false
		}
		m.checks[[2]string{node, strings.ToLower(check.CheckID)}] = check.Status + " " + check.ServiceID
	}
	return true
}

func (m *catalogTwin) deregister(c *structs.DeregisterRequest) {
	node := strings.ToLower(c.Node)
	switch {
	case c.ServiceID != "":
		id := strings.ToLower(c.ServiceID)
		if _, ok := m.services[[2]string{node, id}]; ok {
			delete(m.services, [2]string{node, id})
			maps.DeleteFunc(m.checks, func(k [2]string, row string) bool {
				_, service, _ := strings.Cut(row, " ")
				return k[0] == node && strings.ToLower(service) == id
			})
		}
	case c.CheckID != "":
		delete(m.checks, [2]string{node, strings.ToLower(c.CheckID)})
	default:
		m.removeNode(node)
	}
}

// shown is what the store has, in the twin's form.
func shown(r *state.Reader) *catalogTwin {
	m := &catalogTwin{map[string]string{}, map[[2]string]string{}, map[[2]string]string{}}
	for _, n := range r.Nodes() {
		m.nodes[strings.ToLower(n.Node)] = n.Address + " " + n.ID
	}
	for _, s := range r.AllServices() {
		m.services[[2]string{strings.ToLower(s.Node), strings.ToLower(s.ServiceID)}] = s.ServiceName + " " + strings.Join(s.ServiceTags, ",")
	}
	for _, c := range r.ChecksInState("any") {
		m.checks[[2]string{strings.ToLower(c.Node), strings.ToLower(c.CheckID)}] = c.Status + " " + c.ServiceID
	}
	return m
}

// catalogReaders are all ways to look at a small catalog.
var catalogReaders = map[string]func(*state.Reader) any{
	"nodes":          func(r *state.Reader) any { return r.Nodes() },
	"services":       func(r *state.Reader) any { return namesOf(r.AllServices()) },
	"all":            func(r *state.Reader) any { return r.AllCheckServiceNodes() },
	"dump":           func(r *state.Reader) any { return r.NodeInfos() },
	"node a":         func(r *state.Reader) any { n, s := r.NodeServices("a"); return []any{n, s} },
	"node b":         func(r *state.Reader) any { n, s := r.NodeServices("b"); return []any{n, s} },
	"catalog web":    func(r *state.Reader) any { return r.ServiceNodes("web") },
	"health web":     func(r *state.Reader) any { return r.CheckServiceNodes("web") },
	"health db":      func(r *state.Reader) any { return r.CheckServiceNodes("db") },
	"checks of a":    func(r *state.Reader) any { return r.NodeChecks("a") },
	"checks of web":  func(r *state.Reader) any { return r.ServiceChecks("web") },
	"critical":       func(r *state.Reader) any { return r.ChecksInState("critical") },
	"meta of a node": func(r *state.Reader) any { return r.MetaFilter(map[string]string{"k": "v"})("a") },
}

// namesOf leaves out what Catalog.ListServices does not show.
func namesOf(rows []*structs.ServiceNode) (names []string) {
	for _, s := range rows {
		names = append(names, s.ServiceName+" "+strings.Join(s.ServiceTags, ","))
	}
	return names
}

func render(t *rapid.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func drawRegistration(t *rapid.T) *structs.RegisterRequest {
	pick := func(what string, from ...string) string { return rapid.SampledFrom(from).Draw(t, what) }
	c := &structs.RegisterRequest{
		Node: pick("node", "a", "b", "A", "c"), Address: pick("address", "1", "2"), ID: pick("id", "", "", "x", "y"),
		SkipNodeUpdate: rapid.Bool().Draw(t, "skip"),
	}
	if rapid.Bool().Draw(t, "with service") {
		c.Service = &structs.NodeService{ID: pick("service id", "s", "S", "t"), Service: pick("service", "web", "db"), Kind: pick("kind", "", "", "mesh-gateway")}
		if tag := pick("tag", "", "v1"); tag != "" {
			c.Service.Tags = []string{tag}
		}
	}
	for _, id := range []string{"serfHealth", pick("check id", "k", "K")} {
		if rapid.Bool().Draw(t, "with check "+id) {
			c.Checks = append(c.Checks, &structs.HealthCheck{
				Node: c.Node, CheckID: id, Status: pick("status", "passing", "critical"), ServiceID: pick("of", "", "", "s", "t"),
			})
		}
	}
	return c
}

// Random commands leave the store and the twin alike. Whoever sees something
// else than before has a higher index and was woken, and a command that comes
// again changes nothing.
func TestCatalogAgreesWithItsTwin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		store := state.New()
		twin := &catalogTwin{map[string]string{}, map[[2]string]string{}, map[[2]string]string{}}
		index := uint64(0)
		apply := func(run func(w *state.Writer) error) error {
			index++
			w := store.Write()
			w.Begin(index)
			err := run(w)
			if err != nil {
				w.Undo()
			}
			w.Commit()
			return err
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			readers, before := map[string]*state.Reader{}, map[string]string{}
			for name, read := range catalogReaders {
				readers[name] = store.Watch()
				before[name] = render(t, read(readers[name]))
			}
			rows := slices.Collect(state.Indexes.All(store.Read()))
			next := twin.clone()
			var run func(w *state.Writer) error
			works := true
			if rapid.IntRange(0, 3).Draw(t, "what") > 0 {
				c := drawRegistration(t)
				run = func(w *state.Writer) error { _, err := w.ApplyRegister(c); return err }
				works = next.register(c)
			} else {
				c := &structs.DeregisterRequest{
					Node:      rapid.SampledFrom([]string{"a", "b", "B"}).Draw(t, "node"),
					ServiceID: rapid.SampledFrom([]string{"", "", "s", "T"}).Draw(t, "service"),
					CheckID:   rapid.SampledFrom([]string{"", "k", "SERFHEALTH"}).Draw(t, "check"),
				}
				run = func(w *state.Writer) error { _, err := w.ApplyDeregister(c); return err }
				next.deregister(c)
			}
			if err := apply(run); (err == nil) != works {
				t.Fatalf("at %d: got %v, want that it works: %v", index, err, works)
			}
			if works {
				twin = next
			} else if diff := cmp.Diff(rows, slices.Collect(state.Indexes.All(store.Read()))); diff != "" {
				t.Fatalf("a command that failed left index rows:\n%s", diff)
			}
			if diff := cmp.Diff(twin, shown(store.Read()), cmp.AllowUnexported(catalogTwin{})); diff != "" {
				t.Fatalf("at %d (-twin +store):\n%s", index, diff)
			}
			for name, read := range catalogReaders {
				r := store.Read()
				if after := render(t, read(r)); after != before[name] {
					if r.Index() <= readers[name].Index() {
						t.Fatalf("at %d, %s: its index is %d after %d, but it changed from\n%s to\n%s", index, name, r.Index(), readers[name].Index(), before[name], after)
					}
					if !wokenSoon(readers[name]) {
						t.Fatalf("at %d: %s was not woken", index, name)
					}
				}
			}
			if works {
				rows = slices.Collect(state.Indexes.All(store.Read()))
				if err := apply(run); err != nil {
					return // a registration that took a name away from itself
				}
				if diff := cmp.Diff(rows, slices.Collect(state.Indexes.All(store.Read()))); diff != "" && twinAgain(twin, shown(store.Read())) {
					t.Fatalf("at %d: the same command again changed index rows:\n%s", index, diff)
				}
				twin = shown(store.Read())
			}
		}
	})
}

// twinAgain reports whether a command that came again left what there was.
func twinAgain(a, b *catalogTwin) bool {
	return maps.Equal(a.nodes, b.nodes) && maps.Equal(a.services, b.services) && maps.Equal(a.checks, b.checks)
}

// wokenSoon is woken for what has changed already.
func wokenSoon(r *state.Reader) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.Wait(ctx) == nil
}

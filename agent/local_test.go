package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"praetor/structs"
)

// fakeCatalog stands for the servers: it keeps what it is told of one node.
type fakeCatalog struct {
	mu       sync.Mutex // guards the fields below
	index    uint64
	services map[string]*structs.NodeService
	checks   map[string]*structs.HealthCheck
	writes   []string
	fail     error         // of every call
	hold     time.Duration // before it fails
	refuse   string        // id of a service that is refused
	moved    chan struct{}
}

func newFakeCatalog() *fakeCatalog {
	return &fakeCatalog{index: 10, services: map[string]*structs.NodeService{}, checks: map[string]*structs.HealthCheck{}, moved: make(chan struct{})}
}

func (f *fakeCatalog) call(ctx context.Context, method string, args, reply any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		err, hold := f.fail, f.hold
		f.mu.Unlock()
		time.Sleep(hold)
		f.mu.Lock()
		return err
	}
	switch q := args.(type) {
	case *structs.RegisterRequest:
		if q.Service != nil && q.Service.ID == f.refuse {
			return structs.Errorf(structs.Invalid, "no such thing")
		}
		what := []string{}
		if q.Service != nil {
			f.services[structs.FoldName(q.Service.ID)] = q.Service
			what = append(what, q.Service.ID)
		}
		for _, c := range q.Checks {
			f.checks[structs.FoldName(c.CheckID)] = c
			what = append(what, c.CheckID+"="+c.Status)
		}
		f.wrote("register " + strings.Join(what, " "))
	case *structs.DeregisterRequest:
		if q.ServiceID != "" {
			delete(f.services, structs.FoldName(q.ServiceID))
			for id, c := range f.checks {
				if structs.FoldName(c.ServiceID) == structs.FoldName(q.ServiceID) {
					delete(f.checks, id)
				}
			}
		} else {
			delete(f.checks, structs.FoldName(q.CheckID))
		}
		f.wrote("deregister " + q.ServiceID + q.CheckID)
	case *structs.NodeSpecificRequest:
		for q.MinQueryIndex > 0 && q.MinQueryIndex == f.index && ctx.Err() == nil {
			moved := f.moved
			f.mu.Unlock()
			select {
			case <-moved:
			case <-ctx.Done():
			}
			f.mu.Lock()
		}
		switch r := reply.(type) {
		case *structs.IndexedNodeServiceList:
			r.Index = f.index
			for _, s := range f.services {
				row := *s
				r.NodeServices.Services = append(r.NodeServices.Services, &row)
			}
		case *structs.IndexedHealthChecks:
			r.Index = f.index
			for _, c := range f.checks {
				row := *c
				r.HealthChecks = append(r.HealthChecks, &row)
			}
		}
	default:
		return fmt.Errorf("unexpected %s", method)
	}
	return nil
}

func (f *fakeCatalog) wrote(what string) {
	f.writes = append(f.writes, what)
	f.index++
	close(f.moved)
	f.moved = make(chan struct{})
}

func (f *fakeCatalog) look(at func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at()
}

// change changes the catalog behind the agent's back.
func (f *fakeCatalog) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
	f.wrote("changed")
}

// has returns the ids in the catalog, services first.
func (f *fakeCatalog) has() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, s := range f.services {
		ids = append(ids, s.ID)
	}
	for _, c := range f.checks {
		ids = append(ids, c.CheckID+"="+c.Status)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// seen returns what was written since it was last asked.
func (f *fakeCatalog) seen() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.writes
	f.writes = nil
	return strings.Join(all, "; ")
}

// localTest is the registrations of an agent before a catalog, in virtual time.
type localTest struct {
	*local
	t       *testing.T
	catalog *fakeCatalog
	stop    func()
}

func newLocalTest(t *testing.T, catalog *fakeCatalog, dir string) *localTest {
	t.Helper()
	limits := func() localLimits { return localLimits{outputSize: 20, updateEvery: 5 * time.Minute} }
	l := newLocal(localSelf{"dc1", "node-a", "7b5a4b1c-0000-0000-0000-000000000001", "10.0.0.1"}, localDisk(dir), limits, hclog.NewNullLogger(), catalog.call)
	if err := l.load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.run(ctx) })
	test := &localTest{local: l, t: t, catalog: catalog}
	test.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		l.close()
	})
	t.Cleanup(test.stop)
	return test
}

// register registers a service from its JSON and waits for the catalog.
func (l *localTest) register(text string, replace bool) {
	l.t.Helper()
	var d structs.ServiceDefinition
	err := json.Unmarshal([]byte(text), &d)
	if err == nil {
		err = d.Validate()
	}
	if err == nil {
		err = l.addService(&d, replace, false)
	}
	if err != nil {
		l.t.Fatalf("register %s: %v", text, err)
	}
	l.push(l.t.Context())
}

func (l *localTest) registerCheck(text string) {
	l.t.Helper()
	var d structs.CheckDefinition
	err := json.Unmarshal([]byte(text), &d)
	if err == nil {
		err = d.Validate()
	}
	if err == nil {
		err = l.addCheck(&d, false)
	}
	if err != nil {
		l.t.Fatalf("register %s: %v", text, err)
	}
	l.push(l.t.Context())
}

func (l *localTest) report(id, status, output string) {
	l.t.Helper()
	push, err := l.updateCheck(id, status, output)
	if err != nil {
		l.t.Fatal(err)
	}
	if push {
		l.push(l.t.Context())
	}
}

func (l *localTest) want(what, got, want string) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (l *localTest) status(id string) string {
	l.t.Helper()
	c := l.check(id)
	if c == nil {
		return "none"
	}
	return c.Status + " " + c.Output
}

// localStory tells a story of an agent without a data directory.
func localStory(t *testing.T, tell func(t *testing.T, l *localTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLocalTest(t, newFakeCatalog(), "")
		synctest.Wait()
		tell(t, l)
		l.stop()
	})
}

func TestTTL(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		l.register(`{"name":"web","check":{"ttl":"10s"}}`, false)
		l.want("at first", l.catalog.seen(), "register web service:web=critical")
		l.report("service:web", "passing", "fine")
		l.want("reported", l.catalog.seen(), "register service:web=passing")
		for range 5 {
			time.Sleep(9 * time.Second)
			l.report("service:web", "passing", "fine")
		}
		l.want("heartbeats", l.catalog.seen(), "")
		time.Sleep(10*time.Second - time.Millisecond)
		l.want("just before", l.status("service:web"), "passing fine")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		l.want("expired", l.status("service:web"), "critical TTL expired, last output: fine")
		l.want("expired", l.catalog.seen(), "register service:web=critical")
		time.Sleep(time.Hour)
		l.want("for long", l.catalog.seen(), "")
		l.report("SERVICE:WEB", "warning", strings.Repeat("é", 15))
		l.want("reported again", l.status("service:web"), "warning "+strings.Repeat("é", 10)+" ... (captured 20 of 30 bytes)")
		l.want("reported again", l.catalog.seen(), "register service:web=warning")
		if _, err := l.removeService("web"); err != nil {
			t.Fatal(err)
		}
		l.push(t.Context())
		time.Sleep(time.Minute)
		l.want("removed", l.catalog.has(), "")
		if n := l.status("service:web"); n != "none" {
			t.Errorf("a timer outlives its check: %s", n)
		}
	})
}

// A new output of the same status may wait; a new status takes it along.
func TestOutputWaits(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		l.registerCheck(`{"name":"c","ttl":"1h","status":"passing"}`)
		output := func() (text string) {
			l.catalog.look(func() { text = l.catalog.checks["c"].Output })
			return text
		}
		l.report("c", "passing", "one")
		time.Sleep(2 * time.Minute)
		l.report("c", "passing", "two")
		synctest.Wait()
		l.want("within 5 minutes", output(), "")
		l.want("here", l.status("c"), "passing two")
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		l.want("after 5 minutes", output(), "two")
		l.report("c", "passing", "three")
		l.report("c", "warning", "three")
		l.want("with another status", output(), "three")
		l.catalog.seen()
		time.Sleep(10 * time.Minute)
		l.want("nothing is left to tell", l.catalog.seen(), "")
	})
}

// The same registration again changes nothing, and a status lives on.
func TestRegisterAgain(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		const web = `{"ID":"Web1","Name":"web","Checks":[{"TTL":"1m"},{"TTL":"1m","CheckID":"two"}]}`
		l.register(web, false)
		l.report("service:web1:1", "passing", "")
		if _, err := l.maintain("web1", true, ""); err != nil {
			t.Fatal(err)
		}
		l.push(t.Context())
		l.catalog.seen()
		l.register(web, false)
		l.want("the same", l.catalog.seen(), "")
		l.want("status", l.status("service:web1:1"), "passing ")
		l.register(`{"ID":"web1","Name":"web","Tags":["x"],"Check":{"TTL":"1m","CheckID":"two"}}`, false)
		l.want("another spelling", l.catalog.has(), "_service_maintenance:Web1=critical service:Web1:1=passing two=critical web1")
		if c := l.check("_service_maintenance:web1"); c == nil || !slices.Equal(c.ServiceTags, []string{"x"}) {
			t.Errorf("the check of a service that has new tags: got %+v", c)
		}
		l.register(`{"ID":"web1","Name":"web","Check":{"TTL":"1m","CheckID":"two"}}`, true)
		l.want("replaced", l.catalog.has(), "_service_maintenance:Web1=critical two=critical web1")

		var d structs.ServiceDefinition
		_ = json.Unmarshal([]byte(`{"name":"other","check":{"ttl":"1m","check_id":"two"}}`), &d)
		_ = d.Validate()
		if err := l.addService(&d, false, false); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("a check that belongs to another service: got %v", err)
		}
	})
}

func TestCriticalServiceIsDeregistered(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		l.register(`{"name":"a","check":{"ttl":"10s","status":"passing","deregister_critical_service_after":"1s"}}`, false)
		l.register(`{"name":"b","check":{"ttl":"10s","status":"passing","deregister_critical_service_after":"1h"}}`, false)
		time.Sleep(65 * time.Second)
		l.want("within the minimum", l.catalog.has(), "a b service:a=critical service:b=critical")
		time.Sleep(40 * time.Second)
		synctest.Wait()
		l.want("after it", l.catalog.has(), "b service:b=critical")
		l.report("service:b", "passing", "")
		for range 100 {
			time.Sleep(time.Minute)
			l.report("service:b", "critical", "")
			l.report("service:b", "passing", "")
		}
		l.want("never critical for long", l.catalog.has(), "b service:b=passing")
	})
}

// What the catalog has lost or somebody changed is put back; what nobody here
// knows goes in the round of every minute; the servers' own is left alone.
func TestAntiEntropy(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		l.register(`{"name":"web","port":80,"check":{"ttl":"24h","status":"passing"}}`, false)
		l.register(`{"name":"tagged","tags":["mine"],"enable_tag_override":true}`, false)
		time.Sleep(5 * time.Second)

		l.catalog.change(func() { clear(l.catalog.services); clear(l.catalog.checks) })
		time.Sleep(3 * time.Second)
		l.want("wiped", l.catalog.has(), "service:web=passing tagged web")

		l.catalog.change(func() {
			l.catalog.services["web"].Port = 81
			l.catalog.services["tagged"].Tags = []string{"theirs"}
			l.catalog.checks["service:web"].Status = "critical"
			l.catalog.checks["serfhealth"] = &structs.HealthCheck{Node: "node-a", CheckID: structs.SerfHealth, Status: "passing"}
			l.catalog.services["consul"] = &structs.NodeService{ID: "consul", Service: "consul"}
			l.catalog.services["foreign"] = &structs.NodeService{ID: "foreign", Service: "foreign"}
			l.catalog.checks["foreign"] = &structs.HealthCheck{Node: "node-a", CheckID: "foreign", Status: "passing"}
		})
		time.Sleep(3 * time.Second)
		l.want("changed", l.catalog.has(), "consul foreign foreign=passing serfHealth=passing service:web=passing tagged web")
		l.catalog.look(func() {
			if got := l.catalog.services["web"].Port; got != 80 {
				t.Errorf("web has port %d in the catalog, want 80", got)
			}
			if got := l.service("tagged").Tags; !slices.Equal(got, []string{"theirs"}) || !slices.Equal(l.catalog.services["tagged"].Tags, got) {
				t.Errorf("tags that may be overridden: got %q", got)
			}
		})
		time.Sleep(time.Minute)
		l.want("a minute later", l.catalog.has(), "consul serfHealth=passing service:web=passing tagged web")
		l.catalog.seen()
		time.Sleep(time.Hour)
		l.want("at rest", l.catalog.seen(), "")
	})
}

// Without a leader a registration is taken and told later; nobody waits longer
// than the servers do, however many there are.
func TestCatalogOutOfReach(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		l.catalog.look(func() { l.catalog.fail, l.catalog.hold = structs.ErrNoLeader, 7*time.Second })
		start := time.Now()
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() { l.register(fmt.Sprintf(`{"name":"s%02d"}`, i), false) })
		}
		all.Wait()
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("50 registrations took %v without a leader", took)
		}
		l.want("out of reach", l.catalog.has(), "")
		l.catalog.look(func() { l.catalog.fail = nil })
		time.Sleep(15 * time.Second)
		if got := len(strings.Fields(l.catalog.has())); got != 50 {
			t.Errorf("back in reach: the catalog has %d services, want 50", got)
		}
	})
}

// A service that the catalog refuses is logged and does not hold up the others.
func TestRefusedByTheCatalog(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		l.catalog.look(func() { l.catalog.refuse = "bad" })
		l.register(`{"name":"bad"}`, false)
		l.register(`{"name":"good"}`, false)
		l.want("one refused", l.catalog.has(), "good")
		l.catalog.look(func() { l.catalog.refuse = "" })
		time.Sleep(2 * time.Minute)
		l.want("taken at last", l.catalog.has(), "bad good")
	})
}

func TestMaintenance(t *testing.T) {
	t.Parallel()
	localStory(t, func(t *testing.T, l *localTest) {
		l.register(`{"name":"web"}`, false)
		for _, test := range []struct {
			service, reason, id, notes string
		}{
			{"", "disk", "_node_maintenance", "disk"},
			{"WEB", "", "_service_maintenance:web", "The service is in maintenance; nobody gave a reason."},
		} {
			if found, err := l.maintain(test.service, true, test.reason); !found || err != nil {
				t.Fatalf("%q: %t, %v", test.service, found, err)
			}
			if c := l.check(test.id); c == nil || c.Status != "critical" || c.Notes != test.notes || c.Type != "maintenance" {
				t.Errorf("%s: got %+v", test.id, c)
			}
			if _, err := l.updateCheck(test.id, "passing", ""); !structs.IsCode(err, structs.Conflict) {
				t.Errorf("a report on %s: got %v", test.id, err)
			}
			l.maintain(test.service, false, "")
			if l.check(test.id) != nil {
				t.Errorf("%s is still there", test.id)
			}
		}
		if found, _ := l.maintain("nope", true, ""); found {
			t.Error("an unknown service is in maintenance")
		}
	})
}

// A restart keeps what was registered; a report that still holds keeps its
// status, and what was changed in the catalog by others meanwhile is not undone
// where that is allowed.
func TestRestartKeepsRegistrations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, catalog := t.TempDir(), newFakeCatalog()
		l := newLocalTest(t, catalog, dir)
		l.register(`{"name":"web","tags":["mine"],"enable_tag_override":true,"meta":{"a":"b"},"checks":[{"ttl":"1m"},{"ttl":"10s"}]}`, false)
		l.register(`{"name":"gone","check":{"ttl":"1m"}}`, false)
		l.registerCheck(`{"name":"node","ttl":"1m","deregister_critical_service_after":"2h"}`)
		l.maintain("", true, "reasons")
		for _, id := range []string{"service:web:1", "service:web:2", "node"} {
			l.report(id, "passing", "ok")
		}
		l.removeService("gone")
		l.push(t.Context())
		before, checks := l.service("web"), len(l.allChecks())
		l.stop()
		catalog.change(func() { catalog.services["web"].Tags = []string{"theirs"} })
		time.Sleep(30 * time.Second)

		junk := filepath.Join(dir, "services", "junk")
		_ = os.WriteFile(junk, []byte("{"), 0o600)
		cut := filepath.Join(dir, "services", "abc.new-123")
		_ = os.WriteFile(cut, nil, 0o600)
		l = newLocalTest(t, catalog, dir)
		after := *l.service("web")
		after.Tags = before.Tags // which may have been compared by now
		if d := cmp.Diff(before, &after); d != "" {
			t.Error(d)
		}
		if l.service("gone") != nil || len(l.allChecks()) != checks {
			t.Errorf("got %d checks, want %d; gone: %v", len(l.allChecks()), checks, l.service("gone"))
		}
		l.want("a report that holds", l.status("service:web:1"), "passing ok")
		l.want("one that does not", l.status("service:web:2"), "critical ")
		l.want("maintenance", l.status("_node_maintenance"), "critical ")
		synctest.Wait()
		time.Sleep(time.Second)
		if got := l.service("web").Tags; !slices.Equal(got, []string{"theirs"}) {
			t.Errorf("tags after a restart: got %q, want those in the catalog", got)
		}
		time.Sleep(time.Minute)
		l.want("its time runs anew", l.status("service:web:1"), "critical TTL expired, last output: ok")
		if _, err := os.Stat(junk); err != nil {
			t.Errorf("a file that cannot be read was touched: %v", err)
		}
		if _, err := os.Stat(cut); err == nil {
			t.Error("the rest of a write that was cut short is still there")
		}
		l.stop()
	})
}

// A data directory that Consul has written, as far as we run what is in it.
func TestConsulsDataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := localDisk(dir)
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"services/6b2f": `{"Token":"","Service":{"Kind":"","ID":"Web1","Service":"web","Tags":["x"],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":0,"ModifyIndex":0},"Source":"remote","LocallyRegisteredAsSidecar":false}`,
		"checks/77aa":   `{"Check":{"Node":"old-name","CheckID":"service:Web1","Name":"c","Status":"passing","ServiceID":"Web1","ServiceName":"web","ServiceTags":["x"],"Type":"ttl","Definition":{}},"ChkType":{"CheckID":"service:Web1","Name":"","Status":"","Notes":"","ScriptArgs":null,"Interval":"0s","TTL":"15s","DeregisterCriticalServiceAfter":"0s"},"Token":"","Source":"remote"}`,
		"checks/88bb":   `{"Check":{"CheckID":"http","Name":"http","ServiceID":"Web1","Type":"http"},"ChkType":{"HTTP":"http://localhost","Interval":"10s","TTL":0}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := newLocal(localSelf{datacenter: "dc1", node: "node-a"}, d, func() localLimits { return localLimits{outputSize: 10} }, hclog.NewNullLogger(), newFakeCatalog().call)
	if err := l.load(); err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if s := l.service("web1"); s == nil || s.Port != 80 || s.ID != "Web1" {
		t.Errorf("got service %+v", s)
	}
	if c := l.check("service:web1"); c == nil || c.Node != "node-a" || c.Status != "critical" {
		t.Errorf("got check %+v", c)
	}
	if l.check("http") != nil {
		t.Error("a check that does not run is there")
	}
	if _, err := os.Stat(filepath.Join(dir, "checks/88bb")); err != nil {
		t.Errorf("its file was touched: %v", err)
	}
	if _, err := l.removeService("web1"); err != nil {
		t.Error(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "services/*"))
	if len(left) != 0 {
		t.Errorf("left in the data directory: %q", left)
	}
}

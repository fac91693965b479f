package agent_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"praetor/agent"
	"praetor/agent/config"
	"praetor/structs"
	"praetor/testutil"
)

func (a started) client(t testing.TB) *api.Client {
	t.Helper()
	c, err := api.NewClient(&api.Config{Address: a.HTTPAddrs()[0]})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A service registered with an agent is in the catalog when the answer comes,
// follows its check, is put back when the catalog is wiped, and is still there
// after a restart.
func TestServiceInTheCatalog(t *testing.T) {
	t.Parallel()
	r := settings(t)
	a := start(t, r)
	c := a.client(t)
	is := func(status string) {
		t.Helper()
		entries, _, err := c.Health().Service("web", "", false, nil)
		if err != nil || len(entries) != 1 {
			t.Fatalf("health of web: got %v, %v", entries, err)
		}
		e := entries[0]
		if e.Node.Node != "node1" || e.Node.Address != "127.0.0.1" || e.Service.Port != 80 || e.Checks.AggregatedStatus() != status {
			t.Errorf("got %+v on %+v, %s, want it %s", e.Service, e.Node, e.Checks.AggregatedStatus(), status)
		}
	}
	testutil.Eventually(t, 20*time.Second, "our node in the catalog", func() error {
		if node, _, err := c.Catalog().Node("node1", nil); err != nil || node == nil || node.Services["consul"] == nil {
			return fmt.Errorf("got %v, %v", node, err)
		}
		return nil
	})
	err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "web", Port: 80, Tags: []string{"a"}, Meta: map[string]string{"k": "v"}, Check: &api.AgentServiceCheck{TTL: "1h"},
	})
	if err != nil {
		t.Fatal(err)
	}
	is("critical")
	if err := c.Agent().UpdateTTL("service:web", "fine", "passing"); err != nil {
		t.Fatal(err)
	}
	is("passing")
	if err := c.Agent().EnableNodeMaintenance("later"); err != nil {
		t.Fatal(err)
	}
	is("maintenance")
	if err := c.Agent().DisableNodeMaintenance(); err != nil {
		t.Fatal(err)
	}
	is("passing")

	index := func() uint64 {
		t.Helper()
		_, meta, err := c.Health().Service("web", "", false, nil)
		if err != nil {
			t.Fatal(err)
		}
		return meta.LastIndex
	}
	before := index()
	time.Sleep(1500 * time.Millisecond) // a round or two of comparing
	if now := index(); now != before {
		t.Errorf("the index goes from %d to %d while nothing happens", before, now)
	}

	if _, err := c.Catalog().Deregister(&api.CatalogDeregistration{Node: "node1", ServiceID: "web"}, nil); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 20*time.Second, "web is put back", func() error {
		if entries, _, err := c.Health().Service("web", "", true, nil); err != nil || len(entries) != 1 {
			return fmt.Errorf("got %v, %v", entries, err)
		}
		return nil
	})

	if err := a.Shutdown(); err != nil {
		t.Fatal(err)
	}
	a = start(t, r)
	c = a.client(t)
	testutil.Eventually(t, 20*time.Second, "web after a restart", func() error {
		if entries, _, err := c.Health().Service("web", "a", true, nil); err != nil || len(entries) != 1 {
			return fmt.Errorf("got %v, %v", entries, err)
		}
		return nil
	})
	services, err := c.Agent().Services()
	if err != nil || services["web"] == nil || services["web"].Meta["k"] != "v" {
		t.Errorf("services after a restart: got %v, %v", services, err)
	}
	if err := c.Agent().ServiceDeregister("web"); err != nil {
		t.Fatal(err)
	}
	if entries, _, err := c.Health().Service("web", "", false, nil); err != nil || len(entries) != 0 {
		t.Errorf("deregistered: got %v, %v", entries, err)
	}
}

// An agent whose server does not lead tells the leader.
func TestServiceOfAFollower(t *testing.T) {
	t.Parallel()
	first := start(t, settings(t))
	port := first.Server().LocalMember().Port
	second := start(t, settings(t, fmt.Sprintf(`bootstrap = false node_name = "node2" retry_interval = "50ms" retry_join = ["127.0.0.1:%d"]`, port)))
	testutil.Eventually(t, 20*time.Second, "the second server follows", func() error {
		var peers []string
		if err := second.Server().Call(t.Context(), "Status.Peers", &structs.DCSpecificRequest{}, &peers); err != nil || len(peers) != 2 {
			return errors.New("not yet a peer")
		}
		return nil
	})
	if err := second.client(t).Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	services, _, err := first.client(t).Catalog().Service("web", "", nil)
	if err != nil || len(services) != 1 || services[0].Node != "node2" {
		t.Errorf("got %v, %v", services, err)
	}
}

// What the configuration says is registered at start, wins over what came over
// HTTP, and follows a reload.
func TestServicesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	r := settings(t, `service { name = "web" port = 1 check { ttl = "1h" } } check { name = "node" ttl = "1h" status = "passing" }`)
	next := `service { name = "web" port = 2 check { ttl = "1h" } } services { name = "new" }`
	base := fmt.Sprintf(`server = true bootstrap = true bind_addr = "127.0.0.1" data_dir = %q `, r.DataDir)
	load := func(o *agent.Options) {
		o.Load = func() (*config.Runtime, []string, error) {
			r, err := tryLoad(base + next)
			return r, nil, err
		}
	}
	a := start(t, r, load)
	agent := a.client(t).Agent()
	has := func(want string) {
		t.Helper()
		services, err := agent.Services()
		if err != nil {
			t.Fatal(err)
		}
		checks, err := agent.Checks()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for id, s := range services {
			all = append(all, fmt.Sprintf("%s:%d", id, s.Port))
		}
		for id, c := range checks {
			all = append(all, id+"="+c.Status)
		}
		slices.Sort(all)
		if got := strings.Join(all, " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	has("node=passing service:web=critical web:1")
	if err := agent.ServiceRegister(&api.AgentServiceRegistration{Name: "own", Port: 7}); err != nil {
		t.Fatal(err)
	}
	if err := agent.PassTTL("service:web", "fine"); err != nil {
		t.Fatal(err)
	}
	if err := agent.Reload(); err != nil {
		t.Fatal(err)
	}
	has("new:0 own:7 service:web=passing web:2")
	if err := agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 3}); err != nil {
		t.Fatal(err)
	}
	has("new:0 own:7 service:web=passing web:3")

	next = `service { name = "web" }  bad`
	if err := agent.Reload(); err == nil {
		t.Error("a bad configuration is taken")
	}
	has("new:0 own:7 service:web=passing web:3")
	if err := a.Shutdown(); err != nil {
		t.Fatal(err)
	}
	a = start(t, r, load)
	agent = a.client(t).Agent()
	has("node=passing own:7 service:web=passing web:1")
	next = ""
	if err := agent.Reload(); err != nil {
		t.Fatal(err)
	}
	has("own:7")
	catalog := a.client(t).Catalog()
	testutil.Eventually(t, 20*time.Second, "the catalog follows", func() error {
		node, _, err := catalog.Node("node1", nil)
		if err != nil || node == nil || len(node.Services) != 2 || node.Services["own"] == nil {
			return fmt.Errorf("got %+v, %v", node, err)
		}
		return nil
	})
}

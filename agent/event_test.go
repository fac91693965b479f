package agent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"praetor/structs"
	"praetor/testutil"
)

// The official client fires events and finds them, with the index it expects.
func TestEventClient(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	event := a.client().Event()
	if events, meta, err := event.List("", nil); err != nil || events == nil || len(events) > 0 || meta.LastIndex != 1 {
		t.Errorf("at first: got %v, %+v, %v, want [] at index 1", events, meta, err)
	}
	first, _, err := event.Fire(&api.UserEvent{Name: "foo"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	await := func(name string, count int) (events []*api.UserEvent, index uint64) {
		t.Helper()
		testutil.Eventually(t, 10*time.Second, "the events", func() error {
			found, meta, err := event.List(name, nil)
			if err == nil && len(found) != count {
				err = fmt.Errorf("got %d events, want %d", len(found), count)
			}
			if err == nil {
				events, index = found, meta.LastIndex
			}
			return err
		})
		return events, index
	}
	events, index := await("", 1)
	if events[0].ID != first || events[0].Version != 1 || events[0].LTime == 0 || events[0].Payload != nil || index != event.IDToIndex(first) {
		t.Errorf("got %+v at index %d, want event %s, with a Lamport time, at index %d", events[0], index, first, event.IDToIndex(first))
	}

	// A read with the index of the last event waits for another.
	fired := make(chan string, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		id, _, _ := event.Fire(&api.UserEvent{Name: "bar", Payload: []byte("load"), NodeFilter: "^node-a$"}, nil)
		fired <- id
	}()
	events, meta, err := event.List("", &api.QueryOptions{WaitIndex: index, WaitTime: 10 * time.Second})
	if err != nil || len(events) != 2 || string(events[1].Payload) != "load" || meta.LastIndex == index {
		t.Errorf("got %v, %+v, %v, want two events", events, meta, err)
	}
	second := <-fired
	if _, _, err := event.Fire(&api.UserEvent{Name: "bar", NodeFilter: "^elsewhere$"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := event.Fire(&api.UserEvent{Name: "bar", ServiceFilter: "^not-here$"}, nil); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 10*time.Second, "the service of this node", func() error {
		if len(servicesHere(a.agent.server)) == 0 {
			return errors.New("no service yet")
		}
		return nil
	})
	last, _, err := event.Fire(&api.UserEvent{Name: "bar", ServiceFilter: "^consul$"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if events, _ = await("bar", 2); events[0].ID != second || events[1].ID != last {
		t.Errorf("got %s and %s, want %s and %s and none that is for another node", events[0].ID, events[1].ID, second, last)
	}
	if _, index = await("foo", 1); index != event.IDToIndex(first) {
		t.Errorf("got index %d for foo, want %d", index, event.IDToIndex(first))
	}
}

func TestEventAnswers(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	for _, test := range []struct {
		method, target, body string
		status               int
		want                 string // part of the body
	}{
		{"PUT", "/v1/event/fire/", "", 400, "Missing name"},
		{"PUT", "/v1/event/fire/x?tag=a", "", 500, "Cannot provide tag filter without service filter"},
		{"PUT", "/v1/event/fire/x?node=*", "", 500, "Invalid node filter: error parsing regexp: missing argument to repetition operator: `*`"},
		{"PUT", "/v1/event/fire/x?service=(", "", 500, "Invalid service filter: "},
		{"PUT", "/v1/event/fire/x?service=a&tag=[", "", 500, "Invalid tag filter: "},
		{"PUT", "/v1/event/fire/x", strings.Repeat("x", 513), 413, "max size: 512 bytes"},
		{"PUT", "/v1/event/fire/x", strings.Repeat("x", 500), 413, `cannot fire event "x": user event exceeds configured limit of 512 bytes`},
		{"PUT", "/v1/event/fire/x?dc=dc2", "", 500, "No path to datacenter"},
		{"PUT", "/v1/event/fire/x?node=" + strings.Repeat("a", 600), "", 413, "must fit into one message of the gossip"},
		{"GET", "/v1/event/fire/x", "", 405, "method GET not allowed"},
		{"GET", "/v1/event/list?index=x", "", 400, "Invalid index"},
		{"GET", "/v1/event/list", "", 200, "[]"}, // nothing of all that was fired
		{"PUT", "/v1/event/fire/y", "", 200, `"Name":"y","Payload":null,"NodeFilter":"","ServiceFilter":"","TagFilter":"","Version":1,"LTime":0}`},
	} {
		got := a.do(test.method, test.target, test.body)
		if got.status != test.status || !strings.Contains(got.body, test.want) {
			t.Errorf("%s %.40s: got %d %s, want %d %s", test.method, test.target, got.status, got.body, test.status, test.want)
		}
	}
}

func TestEventFilters(t *testing.T) {
	t.Parallel()
	services := []*structs.NodeService{
		{Service: "web", Tags: []string{"v1", "blue"}},
		{Service: "db", Tags: []string{"master"}},
	}
	for _, test := range []struct {
		event structs.UserEvent
		want  bool
	}{
		{structs.UserEvent{}, true},
		{structs.UserEvent{NodeFilter: "node"}, true},
		{structs.UserEvent{NodeFilter: "^ode"}, false},
		{structs.UserEvent{ServiceFilter: "web|cache"}, true},
		{structs.UserEvent{ServiceFilter: "^cache"}, false},
		{structs.UserEvent{ServiceFilter: "web", TagFilter: "^v[0-9]$"}, true},
		{structs.UserEvent{ServiceFilter: "web", TagFilter: "master"}, false}, // another service has it
		{structs.UserEvent{ServiceFilter: ".", TagFilter: "master"}, true},
		{structs.UserEvent{NodeFilter: "b", ServiceFilter: "web"}, false},
	} {
		f, err := newEventFilters(&test.event)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.match("node-a", func() []*structs.NodeService { return services }); got != test.want {
			t.Errorf("%+v: got %v, want %v", test.event, got, test.want)
		}
	}
}

func TestEventRing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ring eventRing
		_, changed := ring.list("")
		woken := 0
		go func() {
			<-changed
			woken++
		}()
		synctest.Wait()
		if woken > 0 {
			t.Error("woken by nothing")
		}
		for i := range keptEvents + 10 {
			e := &structs.UserEvent{ID: strconv.Itoa(i), Name: "n" + strconv.Itoa(i%2)}
			ring.add(e)
			ring.add(e) // sent again
		}
		synctest.Wait()
		if woken != 1 {
			t.Error("not woken by an event")
		}
		all, _ := ring.list("")
		if len(all) != keptEvents || all[0].ID != "10" || all[keptEvents-1].ID != strconv.Itoa(keptEvents+9) {
			t.Errorf("got %d events from %s on, want %d from 10 on", len(all), all[0].ID, keptEvents)
		}
		if odd, _ := ring.list("n1"); len(odd) != keptEvents/2 {
			t.Errorf("got %d events of one name, want half of them", len(odd))
		}
	})
}

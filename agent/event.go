package agent

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-uuid"

	"praetor/rpcserver"
	"praetor/structs"
)

// keptEvents is how many user events an agent remembers.
const keptEvents = 256

// maxEvent is what fits into a message of the gossip in bytes: name, filters
// and payload together, so the payload has less.
var maxEvent = limit{512, "the size of a message of the gossip"}

// eventRing remembers the last user events that concern this agent. The zero
// value is ready.
type eventRing struct {
	mu      sync.Mutex           // guards the fields below
	events  []*structs.UserEvent // oldest first; shared, never changed
	changed chan struct{}        // closed when an event comes
}

// add remembers an event. One that came twice, since the fire was sent again
// after an unclear answer, counts once.
func (r *eventRing) add(e *structs.UserEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.events, func(known *structs.UserEvent) bool { return known.ID == e.ID }) {
		return
	}
	if len(r.events) == keptEvents {
		r.events = r.events[1:]
	}
	r.events = append(r.events, e)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// list returns the events with this name, or all if it is "", the oldest first,
// and a channel that closes when another event comes.
func (r *eventRing) list(name string) ([]*structs.UserEvent, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := []*structs.UserEvent{}
	for _, e := range r.events {
		if name == "" || e.Name == name {
			found = append(found, e)
		}
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return found, r.changed
}

// userEvent takes an event that gossip brought.
func (a *Agent) userEvent(s *rpcserver.Server, e *structs.UserEvent) {
	filters, err := newEventFilters(e)
	switch {
	case e.Version != structs.EventVersion:
		a.logger.Warn("user event dropped: its version is not known", "event", e.Name, "version", e.Version)
	case err != nil:
		a.logger.Warn("user event dropped", "event", e.Name, "error", err)
	case filters.match(s.Config().NodeName, func() []*structs.NodeService { return servicesHere(s) }):
		a.events.add(e)
		a.logger.Debug("new user event", "event", e.Name, "id", e.ID)
	}
}

// servicesHere are the services of this node in the catalog, as this server
// knows it now.
func servicesHere(s *rpcserver.Server) []*structs.NodeService {
	_, services := s.FSM().Store().Read().NodeServices(s.Config().NodeName)
	return services
}

// eventFilters are the compiled filters of an event; one that is nil lets
// everything through.
type eventFilters struct{ node, service, tag *regexp.Regexp }

// newEventFilters compiles the filters. Gossip bounds their length, and Go's
// regular expressions take time in proportion to it.
func newEventFilters(e *structs.UserEvent) (f eventFilters, err error) {
	if e.TagFilter != "" && e.ServiceFilter == "" {
		return f, structs.Errorf(structs.Invalid, "Cannot provide tag filter without service filter")
	}
	for _, filter := range []struct {
		kind, text string
		to         **regexp.Regexp
	}{
		{"node", e.NodeFilter, &f.node}, {"service", e.ServiceFilter, &f.service}, {"tag", e.TagFilter, &f.tag},
	} {
		if filter.text == "" {
			continue
		}
		if *filter.to, err = regexp.Compile(filter.text); err != nil {
			return f, structs.Errorf(structs.Invalid, "Invalid %s filter: %v", filter.kind, err)
		}
	}
	return f, nil
}

// match reports whether the event concerns a node with these services. With a
// tag filter, one service has to match both.
func (f eventFilters) match(node string, services func() []*structs.NodeService) bool {
	if f.node != nil && !f.node.MatchString(node) {
		return false
	}
	if f.service == nil {
		return true
	}
	return slices.ContainsFunc(services(), func(s *structs.NodeService) bool {
		return f.service.MatchString(s.Service) && (f.tag == nil || slices.ContainsFunc(s.Tags, f.tag.MatchString))
	})
}

// eventFire makes an event known and answers with it.
func eventFire(c *exchange) error {
	if c.rest == "" {
		return badRequest("Missing name")
	}
	id, err := uuid.GenerateUUID()
	if err != nil {
		return err
	}
	e := structs.UserEvent{
		ID: id, Name: c.rest, Version: structs.EventVersion,
		NodeFilter: c.query.get("node"), ServiceFilter: c.query.get("service"), TagFilter: c.query.get("tag"),
	}
	if e.Payload, err = c.body(maxEvent); err != nil {
		return err
	}
	if _, err := newEventFilters(&e); err != nil {
		return err
	}
	payload, err := structs.EncodeUserEvent(&e)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.Name, err)
	}
	q := structs.EventFireRequest{Datacenter: c.query.datacenter(), Name: e.Name, Payload: payload}
	q.AllowStale = true
	if err := c.call("Internal.EventFire", &q, &structs.EventFireResponse{}); err != nil {
		return err
	}
	return c.reply(&e)
}

// eventList answers with the events that this agent has seen. With an index it
// waits until that of the last one is another: such an index has no order.
func eventList(c *exchange) error {
	var q structs.QueryOptions
	if err := c.readOptions(&q); err != nil {
		return err
	}
	timeUp := make(<-chan time.Time)
	if q.MinQueryIndex > 0 {
		server := c.server.Config()
		wait := server.DefaultQueryTime
		if q.MaxQueryTime > 0 {
			wait = min(q.MaxQueryTime, server.MaxQueryTime)
		}
		timer := time.NewTimer(wait + rand.N(wait/16+1))
		defer timer.Stop()
		timeUp = timer.C
	}
	name := c.query.get("name")
	for {
		events, changed := c.events.list(name)
		index := uint64(1)
		if len(events) > 0 {
			index = max(events[len(events)-1].Index(), 1)
		}
		if q.MinQueryIndex == index {
			select {
			case <-changed:
				continue
			case <-timeUp:
			case <-c.ctx.Done():
			case <-c.r.Context().Done():
			}
		}
		c.w.Header()["X-Consul-Index"] = []string{strconv.FormatUint(index, 10)}
		return c.reply(events)
	}
}

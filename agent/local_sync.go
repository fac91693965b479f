package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"praetor/structs"
)

// How the catalog is kept in agreement with this agent.
const (
	compareEvery = time.Minute      // all that the catalog says of this node is compared, and what we do not know removed
	followPause  = time.Second      // between two looks at a catalog that keeps changing
	retryAfter   = 5 * time.Second  // when the catalog was out of reach
	reapEvery    = 30 * time.Second // services that are critical for too long
	pushesAtOnce = 16
)

// syncState is how a row stands in the catalog.
type syncState int

const (
	dirty  syncState = iota // the catalog must be told
	later                   // it was refused: the next comparison tries again
	synced                  // it stands there as it is here
)

// rounds are the times at which the catalog is told of changes. Who has made
// one waits for a round that begins after it; many wait for the same.
type rounds struct {
	mu    *sync.Mutex // guards next
	next  chan struct{}
	asked chan struct{}
	ended chan struct{} // closed when there are no more rounds
}

func newRounds() rounds {
	return rounds{mu: new(sync.Mutex), next: make(chan struct{}), asked: make(chan struct{}, 1), ended: make(chan struct{})}
}

// wake asks for a round and returns what closes when it is over.
func (r *rounds) wake() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case r.asked <- struct{}{}:
	default:
	}
	return r.next
}

// begin starts a round: those who ask from now on wait for the one after it.
func (r *rounds) begin() (over chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	over, r.next = r.next, make(chan struct{})
	return over
}

// push waits until the catalog was told of all that has changed so far, or could
// not be told, which is made up for later.
func (l *local) push(ctx context.Context) {
	select {
	case <-l.rounds.wake():
	case <-l.rounds.ended:
	case <-ctx.Done():
	}
}

// run keeps the catalog in agreement with this agent until ctx ends.
func (l *local) run(ctx context.Context) {
	var followers sync.WaitGroup
	moved := make(chan struct{}, 1)
	followers.Go(func() { follow[structs.IndexedNodeServiceList](ctx, l, "Catalog.NodeServiceList", moved) })
	followers.Go(func() { follow[structs.IndexedHealthChecks](ctx, l, "Health.NodeChecks", moved) })
	defer followers.Wait()
	defer close(l.rounds.ended)

	compare := time.NewTicker(compareEvery - rand.N(compareEvery/8)) // servers that start together need not ask together
	defer compare.Stop()
	reap := time.NewTicker(reapEvery)
	defer reap.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	compared := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.rounds.asked:
			over := l.rounds.begin()
			if !compared {
				compared = l.compare(ctx, true) == nil
			}
			reached := compared && l.tell(ctx) // what others may change there is not undone by a restart
			close(over)
			if !reached {
				retry.Reset(retryAfter)
			}
		case <-compare.C:
			compared = l.compare(ctx, true) == nil
			l.rounds.wake()
		case <-moved:
			if l.compare(ctx, false) == nil {
				l.rounds.wake()
			}
		case <-reap.C:
			l.reap()
			l.rounds.wake()
		case <-retry.C:
			l.rounds.wake()
		}
	}
}

// follow sends word when what the catalog says of this node has changed: by us,
// by somebody else, or by the restore of a snapshot.
func follow[R any, PR interface {
	*R
	Meta() *structs.QueryMeta
}](ctx context.Context, l *local, method string, moved chan<- struct{}) {
	for index := uint64(0); ctx.Err() == nil; {
		q := l.query()
		q.MinQueryIndex, q.AllowStale = index, true
		var reply R
		pause := followPause
		if err := l.call(ctx, method, &q, &reply); err != nil {
			index, pause = 0, 2*retryAfter
		} else if now := max(PR(&reply).Meta().Index, 1); now != index {
			index = now
			select {
			case moved <- struct{}{}:
			default:
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// query asks for all that the catalog says of this node.
func (l *local) query() structs.NodeSpecificRequest {
	return structs.NodeSpecificRequest{Datacenter: l.self.datacenter, Node: l.self.node}
}

// compare finds out what the catalog must be told. With remove, it is also told
// to forget what we do not know. That is for the first round, and for those of
// every minute: at other times somebody may have put it there who is about to
// tell us.
func (l *local) compare(ctx context.Context, remove bool) error {
	var services structs.IndexedNodeServiceList
	var checks structs.IndexedHealthChecks
	q := l.query()
	err := l.call(ctx, "Catalog.NodeServiceList", &q, &services)
	if err == nil {
		q = l.query()
		err = l.call(ctx, "Health.NodeChecks", &q, &checks)
	}
	if err != nil {
		if ctx.Err() == nil {
			l.logger.Debug("cannot compare with the catalog", "error", err)
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	there := map[gone]bool{}
	for _, row := range services.NodeServices.Services {
		l.compareService(row, there, remove)
	}
	for _, row := range checks.HealthChecks {
		l.compareCheck(row, there, remove)
	}
	for key, s := range l.services {
		if !there[gone{true, key}] {
			s.sync = dirty
		}
	}
	for key, c := range l.checks {
		if !there[gone{false, key}] {
			c.sync = dirty
		}
	}
	for name := range l.gone {
		if !there[name] {
			delete(l.gone, name)
		}
	}
	return nil
}

// serverService is the service by which the leader shows the servers.
const serverService = "consul"

func (l *local) compareService(row *structs.NodeService, there map[gone]bool, remove bool) {
	key := structs.FoldName(row.ID)
	name := gone{true, key}
	there[name] = true
	s := l.services[key]
	switch {
	case s == nil && remove && key != serverService && l.gone[name] == "":
		l.logger.Info("the catalog has a service that is not registered here, deregistering it", "service", row.ID)
		l.gone[name] = row.ID
	case s == nil:
	default:
		if s.row.EnableTagOverride && !slices.Equal(s.row.Tags, row.Tags) {
			tagged := *s.row
			tagged.Tags = append([]string{}, row.Tags...)
			s.row = &tagged
			l.noteChange()
		}
		s.sync = dirty
		if sameService(s.row, row) {
			s.sync = synced
		}
	}
}

func (l *local) compareCheck(row *structs.HealthCheck, there map[gone]bool, remove bool) {
	key := structs.FoldName(row.CheckID)
	name := gone{false, key}
	there[name] = true
	c := l.checks[key]
	switch {
	case c == nil && remove && row.CheckID != structs.SerfHealth && structs.FoldName(row.ServiceID) != serverService && l.gone[name] == "":
		l.logger.Info("the catalog has a check that is not registered here, deregistering it", "check", row.CheckID)
		l.gone[name] = row.CheckID
	case c == nil:
	default:
		theirs := *row
		if c.outputLater != nil {
			theirs.Output = c.row.Output
		}
		c.sync = dirty
		if sameCheck(c.row, &theirs, true) {
			c.sync = synced
		}
	}
}

// sameService reports whether two rows say the same, whoever wrote them.
func sameService(a, b *structs.NodeService) bool {
	plain := func(s *structs.NodeService) []byte {
		row := *s
		row.RaftIndex = structs.RaftIndex{}
		if len(row.Tags) == 0 {
			row.Tags = nil
		}
		if len(row.Meta) == 0 {
			row.Meta = nil
		}
		if row.Weights == nil {
			row.Weights = &structs.Weights{Passing: 1, Warning: 1}
		}
		text, _ := json.Marshal(row) // it was read from JSON, or can be written as such
		return text
	}
	return a == b || bytes.Equal(plain(a), plain(b))
}

// sameCheck reports whether two rows say the same. With derived, what the
// catalog takes from the check's service does not count.
func sameCheck(a, b *structs.HealthCheck, derived bool) bool {
	plain := func(c *structs.HealthCheck) []byte {
		row := *c
		row.RaftIndex = structs.RaftIndex{}
		row.Node, row.ServiceID = structs.FoldName(row.Node), structs.FoldName(row.ServiceID)
		if derived {
			row.ServiceName, row.ServiceTags = "", nil
		}
		if len(row.ServiceTags) == 0 {
			row.ServiceTags = nil
		}
		text, _ := json.Marshal(row)
		return text
	}
	return a == b || bytes.Equal(plain(a), plain(b))
}

// errand is one thing that the catalog is to be told.
type errand struct {
	forget  gone // if its id is not ""
	service *localService
	checks  []*localCheck

	request any
	method  string
	rows    []*structs.HealthCheck // as they are sent
	row     *structs.NodeService
}

// tell tells the catalog all that it must know. It reports whether that could be
// reached.
func (l *local) tell(ctx context.Context) bool {
	errands := l.errands()
	var unreached atomic.Bool
	var asks sync.WaitGroup
	room := make(chan struct{}, pushesAtOnce)
	for _, e := range errands {
		room <- struct{}{}
		if unreached.Load() || ctx.Err() != nil {
			break
		}
		asks.Go(func() {
			defer func() { <-room }()
			err := l.call(ctx, e.method, e.request, &struct{}{})
			if err != nil && mayComeBack(err) {
				if !unreached.Swap(true) && ctx.Err() == nil {
					l.logger.Warn("cannot tell the catalog what is registered here, trying again soon", "error", err)
				}
				return
			}
			l.told(e, err)
		})
	}
	asks.Wait()
	return !unreached.Load()
}

// mayComeBack reports whether the next attempt may do better.
func mayComeBack(err error) bool {
	switch structs.CodeOf(err) {
	case structs.NoLeader, structs.NotReady, structs.Unclear, structs.Unreachable, structs.Leaving, structs.Busy, structs.Resubmit, structs.Quarantined:
		return true
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (l *local) errands() (all []*errand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, id := range l.gone {
		q := &structs.DeregisterRequest{Datacenter: l.self.datacenter, Node: l.self.node, ServiceID: id}
		if !name.service {
			q.ServiceID, q.CheckID = "", id
		}
		all = append(all, &errand{forget: name, method: "Catalog.Deregister", request: q})
	}
	ofService := map[string]*errand{}
	for key, s := range l.services {
		if s.sync == dirty {
			e := &errand{service: s, row: s.row}
			ofService[key], all = e, append(all, e)
		}
	}
	for _, c := range l.checks {
		if c.sync != dirty {
			continue
		}
		e := ofService[structs.FoldName(c.row.ServiceID)]
		if e == nil {
			e = &errand{}
			all = append(all, e)
		}
		e.checks, e.rows = append(e.checks, c), append(e.rows, c.row)
	}
	for _, e := range all {
		if e.request == nil {
			e.method, e.request = "Catalog.Register", l.registration(e)
		}
	}
	return all
}

// registration is the request for a service and its checks, or for checks. The
// leader keeps what is said of the node itself.
func (l *local) registration(e *errand) *structs.RegisterRequest {
	q := &structs.RegisterRequest{
		Datacenter: l.self.datacenter, ID: l.self.nodeID, Node: l.self.node, Address: l.self.address, SkipNodeUpdate: true,
	}
	if e.row != nil {
		row := *e.row
		q.Service = &row
	}
	for _, c := range e.rows {
		row := *c
		q.Checks = append(q.Checks, &row)
	}
	slices.SortFunc(q.Checks, func(a, b *structs.HealthCheck) int { return strings.Compare(a.CheckID, b.CheckID) })
	return q
}

// told notes what the catalog has made of an errand: what it will not have is
// left to the next comparison.
func (l *local) told(e *errand, err error) {
	state := synced
	forgotten := e.forget.id != "" && structs.IsCode(err, structs.NotFound)
	if err != nil && !forgotten {
		state = later
		l.logger.Warn("the catalog refuses what is registered here", "method", e.method, "request", e.what(), "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.gone, e.forget)
	if e.service != nil && e.service.row == e.row {
		e.service.sync = state
	}
	for i, c := range e.checks {
		if c.row != e.rows[i] {
			continue
		}
		c.sync = state
		if c.outputLater != nil {
			c.outputLater.Stop()
			c.outputLater = nil
		}
	}
}

func (e *errand) what() string {
	switch {
	case e.forget.id != "":
		return e.forget.id
	case e.row != nil:
		return "service " + e.row.ID
	}
	return "check " + e.rows[0].CheckID
}
